//! `laneway metrics`.

use crate::args::Metrics as Args;
use crate::web::{self, Names};
use crate::{open_files, output, place};
use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use laneway_observe::{Format, Metrics};
use serde_json::json;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

pub(crate) fn run(args: Args, json: bool) -> Result<ExitCode> {
    // Each queue that is looked at is a directory held open; where more are not allowed, what is left out is not readable.
    let _ = open_files::raise();
    let metrics = Metrics::new(place::root()?, place::post_root()?).lanes(args.lanes);
    if let Some(address) = args.listen {
        return serve(metrics, address, args.host, json);
    }
    let format = if args.openmetrics { Format::OpenMetrics } else { Format::Prometheus };
    let text = metrics.text(format);
    if json {
        output::print_json(&json!({ "content_type": format.content_type(), "text": text }))?;
    } else {
        output::print(&text)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Answers until the process is ended.
fn serve(metrics: Metrics, address: SocketAddr, host: Vec<String>, json: bool) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot serve metrics")?;
    runtime.block_on(async {
        let failed = || format!("cannot listen at {address}");
        let listener = TcpListener::bind(address).await.with_context(failed)?;
        let address = listener.local_addr().with_context(failed)?;
        let url = format!("http://{address}/metrics");
        if json {
            output::print_json(&json!({ "url": url }))?;
        } else {
            output::print(&format!("{url}\n"))?;
        }
        // HEAD is answered like GET; anything else is refused, with what is allowed.
        let router = Router::new()
            .route("/metrics", get(answer))
            .layer(middleware::from_fn_with_state(Arc::new(Names::new(address, host)), guard))
            .with_state(Arc::new(metrics));
        web::serve(listener, router, web::PATIENCE, std::future::pending()).await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Lets through who asks for us, and not for somebody whose name leads here.
async fn guard(State(names): State<Arc<Names>>, request: Request, next: Next) -> Response {
    match names.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(why) => (StatusCode::MISDIRECTED_REQUEST, format!("{why}; --host gives it another name\n")).into_response(),
    }
}

async fn answer(State(metrics): State<Arc<Metrics>>, headers: HeaderMap) -> Response {
    let accepted: Vec<_> = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    let format = Format::accepted(&accepted.join(","));
    // Looking reads files: not on the thread that everybody is answered by.
    match spawn_blocking(move || metrics.text(format)).await {
        Ok(text) => ([(CONTENT_TYPE, format.content_type()), (VARY, "accept")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
