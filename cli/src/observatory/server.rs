//! The routes. Everything is read, nothing is changed, and what is served is in this program.

use super::gate::{self, Gate};
use super::looker::Looker;
use crate::web;
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::middleware;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use laneway_observe::{Key, Kind};
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The files of the page.
const PAGE: [(&str, &str, &str); 10] = [
    ("/", HTML, include_str!("page/index.html")),
    ("/style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("/theme.js", SCRIPT, include_str!("page/theme.js")),
    ("/app.js", SCRIPT, include_str!("page/app.js")),
    ("/graph.js", SCRIPT, include_str!("page/graph.js")),
    ("/tracks.js", SCRIPT, include_str!("page/tracks.js")),
    ("/list.js", SCRIPT, include_str!("page/list.js")),
    ("/drawer.js", SCRIPT, include_str!("page/drawer.js")),
    ("/words.js", SCRIPT, include_str!("page/words.js")),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
];

/// The most streams at a time: more browsers than that watch nobody's agents.
const STREAMS: usize = 64;

struct Shared {
    looker: Looker,
    streams: Arc<Semaphore>,
}

type Ours = State<Arc<Shared>>;

pub(super) async fn serve(
    listener: TcpListener,
    gate: Gate,
    looker: Looker,
    stopped: oneshot::Receiver<()>,
    farewell: Duration,
) {
    let shared = Arc::new(Shared { looker, streams: Arc::new(Semaphore::new(STREAMS)) });
    let mut routes =
        Router::new().route("/scene", get(scene)).route("/detail", get(detail)).route("/events", get(events));
    for (path, kind, text) in PAGE {
        routes = routes.route(path, get(move || async move { ([(header::CONTENT_TYPE, kind)], text) }));
    }
    let routes = routes
        .fallback(|| async { (StatusCode::NOT_FOUND, "there is no such page\n") })
        .method_not_allowed_fallback(|| async { (StatusCode::METHOD_NOT_ALLOWED, "this can only be read, with GET\n") })
        .layer(middleware::from_fn_with_state(Arc::new(gate), gate::guard))
        .with_state(shared);
    let (ending, ended) = oneshot::channel::<()>();
    let shutdown = async move {
        let _ = stopped.await;
        drop(ending);
    };
    // One who never reads would keep us for ever.
    let too_late = async move {
        let _ = ended.await;
        tokio::time::sleep(farewell).await;
    };
    tokio::select! {
        () = web::serve(listener, routes, web::PATIENCE, shutdown) => {}
        () = too_late => {}
    }
}

fn json(text: impl Into<String>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text.into()).into_response()
}

fn ending() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the observatory is about to end\n").into_response()
}

async fn scene(State(shared): Ours) -> Response {
    shared.looker.everything().await.map_or_else(ending, |(_, scene)| json(&*scene))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    kind: Word,
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Mailbox,
    Queue,
}

async fn detail(State(shared): Ours, Query(about): Query<About>) -> Response {
    let kind = match about.kind {
        Word::Mailbox => Kind::Mailbox,
        Word::Queue => Kind::Queue,
    };
    match shared.looker.detail(Key { kind, name: about.name }).await {
        Some(detail) => json(detail.to_string()),
        None => (StatusCode::NOT_FOUND, "there is nothing of this name that can be looked at\n").into_response(),
    }
}

/// First everything, then what has changed since, as often as there is a look and the browser is ready for it.
async fn events(State(shared): Ours) -> Response {
    let Ok(place) = Arc::clone(&shared.streams).try_acquire_owned() else {
        let sentence = format!("{STREAMS} browsers watch already, and no more can at a time\n");
        return (StatusCode::SERVICE_UNAVAILABLE, sentence).into_response();
    };
    // Before the first look, so that none is missed after it.
    let Some(looks) = shared.looker.watch() else { return ending() };
    let Some((number, first)) = shared.looker.everything().await else { return ending() };
    let following = Following { looks, seen: number, first: Some(first), _place: place };
    Sse::new(stream::unfold(following, Following::next)).into_response()
}

struct Following {
    looks: tokio::sync::watch::Receiver<Arc<super::scene::Changes>>,
    /// The last look that was sent.
    seen: u64,
    first: Option<Arc<str>>,
    _place: OwnedSemaphorePermit,
}

impl Following {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Following)> {
        if let Some(first) = self.first.take() {
            return Some((Ok(Event::default().event("scene").data(first)), self));
        }
        loop {
            self.looks.changed().await.ok()?;
            let changes = Arc::clone(&self.looks.borrow_and_update());
            if changes.look() <= self.seen {
                continue;
            }
            let text = changes.since(self.seen);
            self.seen = changes.look();
            return Some((Ok(Event::default().event("look").data(text)), self));
        }
    }
}
