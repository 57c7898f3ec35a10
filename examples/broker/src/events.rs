//! What becomes of a message, as it happens: server-sent events. Each stream has a thread that sleeps until whoever serves the
//! mailbox writes something down; so there may be but so many.

use crate::http::status_json;
use crate::office::{Office, blocking};
use crate::refusal::Refusal;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use laneway::mailbox::{Mailbox, State, Ticket};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// The events of one message.
pub(crate) struct States {
    events: Receiver<Event>,
}

impl Stream for States {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.events.poll_recv(context).map(|event| event.map(Ok))
    }
}

/// How often a thread looks whether anybody still listens.
const LISTENING: Duration = Duration::from_secs(1);

/// The states of a message, from what it is now to its last.
pub(crate) async fn stream(office: &Arc<Office>, name: &str, ticket: Ticket) -> Result<Response, Refusal> {
    let Ok(place) = Arc::clone(&office.streams).try_acquire_owned() else {
        let sentence = format!("{} streams of events are open, and no more can be at a time", office.limits.streams);
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, sentence));
    };
    // Known before the stream begins: afterwards there is no status to say it with.
    office.ask(name, false, |_| Ok(())).await?;
    let (post, of) = (office.post.clone(), name.to_owned());
    let mailbox = blocking(move || Ok(post.mailbox(&of)?)).await?;
    let (sender, events) = channel(8);
    let thread = std::thread::Builder::new().spawn(move || {
        follow(mailbox, ticket, &sender);
        drop(place);
    });
    if let Err(error) = thread {
        let sentence = format!("no thread can be started for a stream of events: {error}");
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, sentence));
    }
    Ok(Sse::new(States { events }).keep_alive(KeepAlive::default()).into_response())
}

fn follow(mut mailbox: Mailbox, ticket: Ticket, events: &Sender<Event>) {
    let mut last = None;
    while !events.is_closed() {
        let status = match mailbox.wait_until(&ticket, LISTENING, |state| Some(state) != last) {
            Ok(status) => status,
            Err(error) => {
                // Nobody may be listening any more.
                let _ = events.blocking_send(Event::default().event("error").data(error.to_string()));
                return;
            }
        };
        if Some(status.state) == last {
            continue;
        }
        last = Some(status.state);
        let event = Event::default().event("state").data(status_json(&ticket, &status).to_string());
        if events.blocking_send(event).is_err() || status.state.is_final() || status.state == State::Unknown {
            return;
        }
    }
}
