//! By which names a server is asked. Whoever rules over a name can have it lead here, and then his page reads our answers as its own
//! in a browser of this host (DNS rebinding); what such a browser asks for says that name. An address is nobody's name.

use axum::http::{HeaderMap, header};
use std::net::{IpAddr, SocketAddr};

/// The names of a server.
#[derive(Debug)]
pub(crate) struct Names {
    /// Nobody comes by another address than one of loopback.
    is_loopback: bool,
    given: Vec<String>,
}

impl Names {
    /// Of a server that listens at this address, and has these names besides.
    pub(crate) fn new(address: SocketAddr, given: Vec<String>) -> Names {
        Names { is_loopback: address.ip().is_loopback(), given }
    }

    /// Whether a request is for us; a sentence when it is not.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), String> {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        if self.has(host) {
            return Ok(());
        }
        let ours = if self.is_loopback { "localhost" } else { "by its address" };
        Err(format!("this is called {ours} here, not {host:?}"))
    }

    fn has(&self, host: &str) -> bool {
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let plain = name.trim_start_matches('[').trim_end_matches(']');
        let is_ours = |address: IpAddr| address.is_loopback() || !self.is_loopback;
        name.eq_ignore_ascii_case("localhost")
            || plain.parse().is_ok_and(is_ours)
            || self.given.iter().any(|given| given.eq_ignore_ascii_case(name))
    }
}

/// A name as it stands in an address, without what stands around it there.
pub(crate) fn parse_name(text: &str) -> Result<String, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.is_empty() || text.len() > 253 || !text.bytes().all(allowed) {
        return Err("a name such as build-7.example is needed, without a port".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: [&str; 6] = ["localhost", "LOCALHOST:7777", "127.0.0.1:7777", "127.9.9.9", "[::1]:7777", "[::1]"];
    const FOREIGN: [&str; 7] = [
        "",
        "evil.example",
        "localhost.evil.example:7777",
        "127.0.0.1.evil.example",
        "a:b",
        "::",
        "10.0.0.1.evil.example",
    ];
    const ADDRESSES: [&str; 3] = ["10.0.0.1", "10.0.0.1:7777", "[2001:db8::1]:7777"];

    fn names(address: &str, given: &[&str]) -> Names {
        Names::new(address.parse().expect("an address"), given.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn only_names_of_this_host_are_local() {
        let ours = names("127.0.0.1:7777", &[]);
        LOCAL.iter().for_each(|host| assert!(ours.has(host), "{host}"));
        FOREIGN.iter().chain(&ADDRESSES).for_each(|host| assert!(!ours.has(host), "{host}"));
    }

    #[test]
    fn where_others_can_reach_it_any_address_is_as_good_as_another_and_no_name_is() {
        let ours = names("0.0.0.0:7777", &[]);
        LOCAL.iter().chain(&ADDRESSES).for_each(|host| assert!(ours.has(host), "{host}"));
        FOREIGN.iter().for_each(|host| assert!(!ours.has(host), "{host}"));
    }

    #[test]
    fn names_that_were_given_are_names_whatever_the_port() {
        for address in ["127.0.0.1:7777", "[::]:7777"] {
            let ours = names(address, &["build-7.example"]);
            assert!(ours.has("build-7.example") && ours.has("Build-7.Example:80") && ours.has("localhost"));
            assert!(!ours.has("evil.example") && !ours.has("x.build-7.example"));
        }
        ["", "a:80", "http://a", "a/b", "a b"]
            .iter()
            .for_each(|wrong| assert!(parse_name(wrong).is_err(), "{wrong:?}"));
        assert!(parse_name("build-7.example").is_ok());
    }
}
