//! What is refused, and with which status: a sentence for whoever asked.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use laneway::mailbox::{NotATicket, RecvError, ReplayError, SendError};
use laneway::{Cause, Error, SendError as QueueError};

/// A refusal.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    status: StatusCode,
    sentence: String,
    /// When it is worth trying again.
    retry_after_s: Option<u32>,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, sentence: impl Into<String>) -> Refusal {
        Refusal { status, sentence: sentence.into(), retry_after_s: None }
    }

    pub(crate) fn no_agent(name: &str) -> Refusal {
        Refusal::new(
            StatusCode::NOT_FOUND,
            format!("there is no mailbox {name:?}: nobody has sent to it or taken from it"),
        )
    }

    /// The thread that was to answer has ended.
    pub(crate) fn broken(name: &str) -> Refusal {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the thread of the mailbox {name:?} has panicked"))
    }

    /// Whether the mailbox was removed.
    pub(crate) fn is_gone(&self) -> bool {
        self.status == StatusCode::GONE
    }

    pub(crate) fn no_room(sentence: impl Into<String>) -> Refusal {
        Refusal { retry_after_s: Some(1), ..Refusal::new(StatusCode::TOO_MANY_REQUESTS, sentence) }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(serde_json::json!({ "error": self.sentence }))).into_response();
        if let Some(seconds) = self.retry_after_s {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        let status = match error.cause() {
            Cause::Name { .. } => StatusCode::BAD_REQUEST,
            Cause::NotFound => StatusCode::NOT_FOUND,
            Cause::AlreadyReceiving | Cause::Untrusted { .. } => StatusCode::CONFLICT,
            Cause::Detached => StatusCode::GONE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Refusal::new(status, error.to_string())
    }
}

impl From<SendError> for Refusal {
    fn from(error: SendError) -> Refusal {
        let sentence = error.to_string();
        match error {
            SendError::Attach(error) => error.into(),
            SendError::Full { .. } => Refusal::no_room(sentence),
            SendError::Queue(QueueError::RateLimited { .. }) => Refusal::no_room(sentence),
            SendError::Queue(QueueError::TooLarge { .. }) => Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, sentence),
            SendError::Queue(QueueError::Full | QueueError::NoSpace) => {
                Refusal { retry_after_s: Some(1), ..Refusal::new(StatusCode::INSUFFICIENT_STORAGE, sentence) }
            }
            SendError::Queue(QueueError::Detached) => Refusal::new(StatusCode::GONE, sentence),
            _ => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, sentence),
        }
    }
}

impl From<RecvError> for Refusal {
    fn from(error: RecvError) -> Refusal {
        let sentence = error.to_string();
        match error {
            RecvError::Busy { .. } => Refusal::no_room(sentence),
            RecvError::Detached => Refusal::new(StatusCode::GONE, sentence),
            _ => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, sentence),
        }
    }
}

impl From<ReplayError> for Refusal {
    fn from(error: ReplayError) -> Refusal {
        match error {
            ReplayError::Open(error) => error.into(),
            ReplayError::Send(error) => error.into(),
            error => Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }
}

impl From<NotATicket> for Refusal {
    fn from(error: NotATicket) -> Refusal {
        Refusal::new(StatusCode::BAD_REQUEST, error.to_string())
    }
}
