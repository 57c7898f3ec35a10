//! The routes.

use crate::events;
use crate::inbox::{Mail, Outcome};
use crate::office::{Office, blocking};
use crate::refusal::Refusal;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use laneway::Priority;
use laneway::mailbox::{Cancelled, Content, Mailbox, Status, Ticket};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

type Broker = State<Arc<Office>>;

/// All routes. A `public` broker answers to any host name.
pub(crate) fn routes(office: Arc<Office>, public: bool) -> Router {
    let max_body = office.limits.body;
    let routes = Router::new()
        .route("/agents", get(agents))
        .route("/agents/{agent}", get(stats))
        .route("/agents/{agent}/send", post(send))
        .route("/agents/{agent}/pending", get(pending))
        .route("/agents/{agent}/take", post(take))
        .route("/agents/{agent}/dead", get(dead))
        .route("/agents/{agent}/dead/replay", post(replay))
        .route("/agents/{agent}/tickets/{ticket}", get(status_of_agent))
        .route("/agents/{agent}/tickets/{ticket}/{outcome}", post(settle_of_agent))
        .route("/tickets/{ticket}", get(status).delete(cancel))
        .route("/tickets/{ticket}/events", get(states))
        .route("/tickets/{ticket}/{outcome}", post(settle))
        .fallback(|| async {
            Refusal::new(StatusCode::NOT_FOUND, "there is no such path; a slash in a name is refused in any form")
        })
        .layer(DefaultBodyLimit::max(max_body))
        .layer(middleware::map_response(move |response| in_a_sentence(response, max_body)))
        .with_state(office);
    if public { routes } else { routes.layer(middleware::from_fn(only_from_here)) }
}

/// A page in a browser of this host must not write to agents: it says where it comes from, or calls us by another name.
async fn only_from_here(request: Request, next: Next) -> Response {
    let refused = |why: String| Refusal::new(StatusCode::FORBIDDEN, why).into_response();
    if let Some(origin) = request.headers().get(header::ORIGIN) {
        return refused(format!("requests of web pages are refused, and this one comes from {origin:?}"));
    }
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
    let plain = name.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = plain.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    if is_loopback || name.eq_ignore_ascii_case("localhost") {
        return next.run(request).await;
    }
    refused(format!("this host is called localhost here, not {host:?}"))
}

/// Refusals of the server itself, in the form of ours.
async fn in_a_sentence(response: Response, max_body: usize) -> Response {
    let is_ours = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    let status = response.status();
    if is_ours || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let said = axum::body::to_bytes(response.into_body(), 4096).await.unwrap_or_default();
    let sentence = match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            format!("the body is longer than {max_body} bytes, which is the most that is taken")
        }
        StatusCode::METHOD_NOT_ALLOWED => "this path does not know this method".to_owned(),
        _ => String::from_utf8_lossy(&said).into_owned(),
    };
    Refusal::new(status, sentence).into_response()
}

/// What may be said about a message, in the query.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    priority: Option<String>,
    delay_ms: Option<u64>,
    ttl_ms: Option<u64>,
    max_attempts: Option<u16>,
    supersede: Option<String>,
    idempotency: Option<String>,
}

async fn send(
    State(office): Broker,
    Path(agent): Path<String>,
    Query(about): Query<About>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let priority = match &about.priority {
        Some(text) => text.parse().map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, format!("{error}")))?,
        None => Priority::Normal,
    };
    let content = content_of(&headers);
    let ticket = office.ask(&agent, true, move |mailbox| dispatch(mailbox, &about, priority, content, &body)).await?;
    office.note(&ticket, &agent);
    let place = format!("/tickets/{ticket}");
    let receipt = Json(json!({ "ticket": ticket.to_string(), "agent": agent }));
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], receipt).into_response())
}

fn dispatch(
    mailbox: &mut Mailbox,
    about: &About,
    priority: Priority,
    content: Content,
    body: &[u8],
) -> Result<Ticket, Refusal> {
    let mut draft = mailbox.compose().priority(priority).content(content);
    if let Some(delay) = about.delay_ms {
        draft = draft.delay(Duration::from_millis(delay));
    }
    if let Some(ttl) = about.ttl_ms {
        draft = draft.ttl(Duration::from_millis(ttl));
    }
    if let Some(attempts) = about.max_attempts {
        draft = draft.max_attempts(attempts);
    }
    if let Some(key) = &about.supersede {
        draft = draft.supersede(key.as_bytes());
    }
    if let Some(key) = &about.idempotency {
        draft = draft.idempotency(key.as_bytes());
    }
    Ok(draft.send(body)?)
}

const TYPES: [(Content, &str); 4] = [
    (Content::Json, "application/json"),
    (Content::Text, "text/plain; charset=utf-8"),
    (Content::MessagePack, "application/msgpack"),
    (Content::Cbor, "application/cbor"),
];

fn content_of(headers: &HeaderMap) -> Content {
    let said = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = said.split(';').next().unwrap_or_default().trim();
    let known = TYPES.iter().find(|(_, name)| name.split(';').next() == Some(kind));
    known.map_or(if kind.starts_with("text/") { Content::Text } else { Content::Bytes }, |(content, _)| *content)
}

async fn agents(State(office): Broker) -> Result<Json<Value>, Refusal> {
    let post = office.post.clone();
    let agents = blocking(move || {
        let agents: Result<Vec<Value>, Refusal> = post
            .list()?
            .into_iter()
            .map(|name| {
                let status = if post.is_awake(&name)? { "online" } else { "offline" };
                Ok(json!({ "agentId": name, "status": status }))
            })
            .collect();
        agents
    });
    Ok(Json(agents.await?.into()))
}

async fn stats(State(office): Broker, Path(agent): Path<String>) -> Result<Json<Value>, Refusal> {
    let stats = office.ask(&agent, false, |mailbox| Ok(mailbox.stats()?)).await?;
    let micros = |time: Option<Duration>| time.map(|time| time.as_nanos() as f64 / 1e3);
    Ok(Json(json!({
        "agentId": agent, "awake": stats.awake, "pending": stats.pending, "kept": stats.kept, "taken": stats.taken,
        "handedOut": stats.handed_out, "processed": stats.processed, "failed": stats.failed, "expired": stats.expired,
        "cancelled": stats.cancelled, "superseded": stats.superseded, "deadLettered": stats.dead_lettered,
        "retried": stats.retried, "redelivered": stats.redelivered, "refused": stats.refused,
        "fullEvents": stats.full_events, "highWater": stats.high_water, "messagesPerSecond": stats.rate,
        "deliveryMicros": {
            "p50": micros(stats.delivery_p50), "p95": micros(stats.delivery_p95), "p99": micros(stats.delivery_p99),
        },
    })))
}

async fn pending(State(office): Broker, Path(agent): Path<String>) -> Result<Json<Value>, Refusal> {
    let stats = office.ask(&agent, false, |mailbox| Ok(mailbox.stats()?)).await?;
    Ok(Json(json!({ "agentId": agent, "pending": stats.pending, "taken": stats.taken, "kept": stats.kept })))
}

/// For how long to wait, and how long a message is lent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Terms {
    #[serde(default)]
    wait_ms: u64,
    #[serde(default = "five_minutes")]
    lease_ms: u64,
}

fn five_minutes() -> u64 {
    300_000
}

const LONGEST_WAIT_MS: u64 = 60_000;
const LONGEST_LEASE_MS: u64 = 24 * 3_600_000;

async fn take(
    State(office): Broker,
    Path(agent): Path<String>,
    Query(terms): Query<Terms>,
) -> Result<Response, Refusal> {
    for (what, given, most) in
        [("wait_ms", terms.wait_ms, LONGEST_WAIT_MS), ("lease_ms", terms.lease_ms, LONGEST_LEASE_MS)]
    {
        if given > most {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, format!("{what} is {given}, and may be {most}")));
        }
    }
    let (wait, lease) = (Duration::from_millis(terms.wait_ms), Duration::from_millis(terms.lease_ms));
    Ok(match office.take(&agent, wait, lease).await? {
        Some(mail) => handed_out(mail),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

/// A message as an answer: its body is the body, and what else is known stands before it.
fn handed_out(mail: Mail) -> Response {
    let kind = TYPES.iter().find(|(content, _)| *content == mail.content);
    // A name may hold anything; a header may not.
    let from: String = mail.from.chars().filter(|letter| letter.is_ascii_graphic() || *letter == ' ').collect();
    let known = [
        ("laneway-ticket", mail.ticket.to_string()),
        ("laneway-attempt", mail.attempt.to_string()),
        ("laneway-age-ms", mail.age.as_millis().to_string()),
        ("laneway-from", from),
        ("content-type", kind.map_or("application/octet-stream", |(_, name)| *name).to_owned()),
    ];
    (StatusCode::OK, known, mail.body).into_response()
}

fn parse_ticket(text: &str) -> Result<Ticket, Refusal> {
    Ok(text.parse::<Ticket>()?)
}

fn parse_outcome(text: &str) -> Result<Outcome, Refusal> {
    let known =
        [("ack", Outcome::Ack), ("nack", Outcome::Nack), ("reject", Outcome::Reject), ("progress", Outcome::Progress)];
    let found = known.into_iter().find(|(name, _)| *name == text).map(|(_, outcome)| outcome);
    found.ok_or_else(|| {
        Refusal::new(StatusCode::NOT_FOUND, format!("{text:?} is none of ack, nack, reject and progress"))
    })
}

async fn settle(State(office): Broker, Path((ticket, outcome)): Path<(String, String)>) -> Result<StatusCode, Refusal> {
    let (ticket, outcome) = (parse_ticket(&ticket)?, parse_outcome(&outcome)?);
    let agent = office.whose(ticket).await?;
    office.settle(&agent, ticket, outcome).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn settle_of_agent(
    State(office): Broker,
    Path((agent, ticket, outcome)): Path<(String, String, String)>,
) -> Result<StatusCode, Refusal> {
    let (ticket, outcome) = (parse_ticket(&ticket)?, parse_outcome(&outcome)?);
    office.settle(&agent, ticket, outcome).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What is said of a message.
pub(crate) fn status_json(ticket: &Ticket, status: &Status) -> Value {
    json!({
        "ticket": ticket.to_string(), "state": status.state.name(), "reason": status.reason.sentence(),
        "attempts": status.attempts, "final": status.state.is_final(),
    })
}

async fn status(State(office): Broker, Path(ticket): Path<String>) -> Result<Json<Value>, Refusal> {
    let ticket = parse_ticket(&ticket)?;
    let agent = office.whose(ticket).await?;
    status_in(&office, &agent, ticket).await
}

async fn status_of_agent(
    State(office): Broker,
    Path((agent, ticket)): Path<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    status_in(&office, &agent, parse_ticket(&ticket)?).await
}

async fn status_in(office: &Office, agent: &str, ticket: Ticket) -> Result<Json<Value>, Refusal> {
    let status = office.ask(agent, false, move |mailbox| Ok(mailbox.status(&ticket)?)).await?;
    if status.state == laneway::mailbox::State::Unknown {
        let sentence = format!("the mailbox {agent:?} knows nothing of {ticket}");
        return Err(Refusal::new(StatusCode::NOT_FOUND, sentence));
    }
    Ok(Json(status_json(&ticket, &status)))
}

async fn cancel(State(office): Broker, Path(ticket): Path<String>) -> Result<Response, Refusal> {
    let ticket = parse_ticket(&ticket)?;
    let agent = office.whose(ticket).await?;
    match office.ask(&agent, false, move |mailbox| Ok(mailbox.cancel(&ticket)?)).await? {
        Cancelled::Yes => Ok(Json(json!({ "ticket": ticket.to_string(), "cancelled": true })).into_response()),
        Cancelled::TooLate(state) => {
            Err(Refusal::new(StatusCode::CONFLICT, format!("it is too late to cancel {ticket}: it is {state}")))
        }
        // Its state will tell.
        Cancelled::Unsure => Ok(StatusCode::ACCEPTED.into_response()),
    }
}

async fn states(State(office): Broker, Path(ticket): Path<String>) -> Result<Response, Refusal> {
    let ticket = parse_ticket(&ticket)?;
    let agent = office.whose(ticket).await?;
    events::stream(&office, &agent, ticket).await
}

async fn dead(State(office): Broker, Path(agent): Path<String>) -> Result<Json<Value>, Refusal> {
    let letters = office.ask(&agent, false, |mailbox| Ok(mailbox.dead_letters()?)).await?;
    let letters = letters.iter().map(|letter| {
        json!({
            "ticket": letter.ticket.to_string(), "reason": letter.reason.sentence(), "attempts": letter.attempts,
            "body": String::from_utf8_lossy(&letter.body),
        })
    });
    Ok(Json(letters.collect()))
}

async fn replay(State(office): Broker, Path(agent): Path<String>) -> Result<Json<Value>, Refusal> {
    let sent = office.ask(&agent, false, |mailbox| Ok(mailbox.replay_dead(|_| true)?)).await?;
    let sent = sent.iter().map(|(old, new)| json!({ "was": old.to_string(), "ticket": new.to_string() }));
    Ok(Json(sent.collect()))
}
