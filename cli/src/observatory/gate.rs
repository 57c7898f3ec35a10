//! Who is answered: nobody who reached us under a false name, no page of another origin, and where there is a token only who has it.

use crate::web::Names;
use anyhow::{Context, Result};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use std::net::SocketAddr;
use std::sync::Arc;
use subtle::ConstantTimeEq;

/// What is asked of a request.
#[derive(Debug)]
pub(super) struct Gate {
    names: Names,
    token: Option<String>,
    /// The name of the cookie. Cookies are of a host, whatever the port; two observatories must not displace each other's.
    cookie: String,
}

/// The shortest token that cannot be found by trying.
const SHORTEST: usize = 16;

pub(super) fn parse_token(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    if text.len() < SHORTEST || text.len() > 256 || !text.bytes().all(allowed) {
        return Err(format!("{SHORTEST} to 256 letters, digits, `-`, `_`, `.` and `~` make a token"));
    }
    Ok(text.to_owned())
}

impl Gate {
    /// Where others can reach us there is always a token.
    pub(super) fn new(address: SocketAddr, token: Option<String>) -> Result<Gate> {
        let token = match token {
            None if !address.ip().is_loopback() => Some(make_token()?),
            given => given,
        };
        Ok(Gate { names: Names::new(address, Vec::new()), token, cookie: format!("laneway-{}", address.port()) })
    }

    /// Where the page is, with the token, for who is to open it.
    pub(super) fn url(&self, address: SocketAddr) -> String {
        match &self.token {
            Some(token) => format!("http://{address}/?token={token}"),
            None => format!("http://{address}/"),
        }
    }

    fn check(&self, request: &Request) -> Result<(), Box<Response>> {
        let headers = request.headers();
        let is_page = request.uri().path() == "/";
        if self.token.is_none() {
            // Who has the token may call us what he likes.
            self.names.check(headers).map_err(|why| refused(StatusCode::MISDIRECTED_REQUEST, why))?;
        }
        let site = headers.get("sec-fetch-site").and_then(|site| site.to_str().ok());
        let comes_from_elsewhere = site.is_some_and(|site| !["same-origin", "none"].contains(&site));
        // Following a link to the page is no harm; reading anything from another page is.
        if comes_from_elsewhere && !is_page || !is_own_origin(headers) {
            let sentence = "requests of other pages are refused".to_owned();
            return Err(refused(StatusCode::FORBIDDEN, sentence));
        }
        let Some(token) = &self.token else { return Ok(()) };
        let shown = request.uri().query().unwrap_or_default().split('&').find_map(|part| part.strip_prefix("token="));
        if let Some(shown) = shown.filter(|_| is_page) {
            return Err(if is_same(shown, token) { self.let_in(token) } else { unknown() });
        }
        let bearer = text(headers, header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let mut cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        let cookie = cookies.find_map(|value| {
            value.split("; ").find_map(|pair| pair.strip_prefix(self.cookie.as_str())?.strip_prefix('='))
        });
        match bearer.or(cookie) {
            Some(shown) if is_same(shown, token) => Ok(()),
            _ => Err(unknown()),
        }
    }

    /// The token moves from the address, which is seen and kept in many places, into a cookie that no script can read.
    fn let_in(&self, token: &str) -> Box<Response> {
        let cookie = format!("{}={token}; HttpOnly; SameSite=Strict; Path=/", self.cookie);
        Box::new((StatusCode::SEE_OTHER, [(header::LOCATION, "/"), (header::SET_COOKIE, &cookie)]).into_response())
    }
}

fn make_token() -> Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("cannot make a token: there is no randomness")?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// Takes the same time wherever they differ, so that a token cannot be guessed byte by byte.
fn is_same(shown: &str, token: &str) -> bool {
    shown.as_bytes().ct_eq(token.as_bytes()).into()
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// A page that says where it comes from must come from here.
fn is_own_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    origin.is_some_and(|(_, name)| text(headers, header::HOST) == Some(name))
}

fn refused(status: StatusCode, sentence: String) -> Box<Response> {
    Box::new((status, sentence + "\n").into_response())
}

fn unknown() -> Box<Response> {
    let sentence = "this needs the token: open the address that was printed when it was started".to_owned();
    let mut response = refused(StatusCode::UNAUTHORIZED, sentence);
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

/// Everything the page may do: its own files, and ask us.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(&str, &str); 6] = [
    ("content-security-policy", POLICY),
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
];

/// Lets through who may come, and sends every answer out with the same headers.
pub(super) async fn guard(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let mut response = match gate.check(&request) {
        Ok(()) => next.run(request).await,
        Err(response) => *response,
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_and_of_plain_letters_and_those_that_are_made_are_all_different() {
        for wrong in ["", "short", "fifteen-letters", "sixteen letters!", "0123456789abcdef&x", "ünïcödé-ünïcödé"]
        {
            assert!(parse_token(wrong).is_err(), "{wrong:?}");
        }
        assert!(parse_token("0123456789abcdef").is_ok());
        let [first, second] = [(); 2].map(|()| make_token().expect("randomness"));
        assert!(first != second && first.len() == 43 && parse_token(&first).is_ok(), "{first}");
    }
}
