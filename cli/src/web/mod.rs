//! How `laneway metrics --listen` and `laneway observatory` are served: HTTP/1, a task for each connection, and none that is kept
//! for nothing.

mod names;

pub(crate) use names::{Names, parse_name};

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use nix::sys::socket::{setsockopt, sockopt};
use std::pin::pin;
use std::time::Duration;
use tokio::net::TcpListener;

/// How long a client may take to say what it wants, also when it was answered before.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Who has not taken what was sent for so long is not read by anybody, milliseconds.
const UNREAD_MS: u32 = 60_000;

/// Answers until it is `stopped`, and then those to the end who are being answered.
pub(crate) async fn serve(
    mut listener: TcpListener,
    routes: Router,
    patience: Duration,
    stopped: impl Future<Output = ()>,
) {
    let mut how = http1::Builder::new();
    how.timer(TokioTimer::new()).header_read_timeout(patience);
    let (graceful, mut stopped) = (GracefulShutdown::new(), pin!(stopped));
    loop {
        // axum's way to accept: where no more files may be open, it waits a second before the next.
        let (connection, _) = tokio::select! {
            accepted = Listener::accept(&mut listener) => accepted,
            () = &mut stopped => break,
        };
        // Both are matters of comfort.
        let _ = connection.set_nodelay(true);
        let _ = setsockopt(&connection, sockopt::TcpUserTimeout, &UNREAD_MS);
        let serving = how.serve_connection(TokioIo::new(connection), TowerToHyperService::new(routes.clone()));
        // What goes wrong on a connection is a matter of who is at its other end.
        let serving = graceful.watch(serving);
        tokio::spawn(async move { drop(serving.await) });
    }
    drop(listener);
    graceful.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use tokio::sync::oneshot;

    /// Serves one page with little patience while `asks` asks.
    fn serving<T: Send + 'static>(asks: impl FnOnce(SocketAddr) -> T + Send + 'static) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let (stop, stopped) = oneshot::channel::<()>();
            let asking = tokio::task::spawn_blocking(move || {
                let answer = asks(address);
                drop(stop);
                answer
            });
            let routes = Router::new().route("/", get(|| async { "a page" }));
            serve(listener, routes, Duration::from_secs(1), async { drop(stopped.await) }).await;
            asking.await.expect("it asks")
        })
    }

    #[test]
    fn a_client_that_does_not_say_what_it_wants_is_let_go() {
        for said in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: local", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET / "]
        {
            let heard = serving(move |address| {
                let mut client = TcpStream::connect(address).expect("it listens");
                // Without an end to the patience this would be the end of it.
                client.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
                client.write_all(said.as_bytes()).expect("written");
                let mut heard = String::new();
                client.read_to_string(&mut heard).expect("the server ends it");
                heard
            });
            assert_eq!(heard.contains("a page"), said.contains("\r\n\r\n"), "{said:?}: {heard:?}");
        }
    }
}
