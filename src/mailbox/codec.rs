//! Bodies that are values: through serde, in a format that the envelope names.

use super::chunks::Chunk;
use super::delivery::Delivery;
use super::envelope::Content;
use super::handle::{Draft, SendError};
use super::request::Answer;
use super::ticket::Ticket;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error as StdError;
use std::fmt;

/// A format for values. Implement it for others than those here.
pub trait Codec {
    /// What the envelope says is in the body.
    const CONTENT: Content;

    /// The value as bytes.
    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError>;

    /// The value in these bytes.
    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError>;
}

/// A value that could not be written or read, with the format's own words.
#[derive(Debug)]
#[non_exhaustive]
pub enum CodecError {
    /// The format could not do it.
    Format(Box<dyn StdError + Send + Sync>),
    /// The envelope says that something else is in the body.
    Content {
        /// What it says.
        found: Content,
        /// What was asked for.
        expected: Content,
    },
    /// The message was not sent.
    Send(SendError),
}

impl CodecError {
    /// What the format says.
    pub fn format(error: impl StdError + Send + Sync + 'static) -> CodecError {
        CodecError::Format(Box::new(error))
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CodecError::Format(error) => error.fmt(f),
            CodecError::Content { found, expected } => {
                write!(f, "the envelope says that the body is {found:?}, and it was to be {expected:?}")
            }
            CodecError::Send(error) => error.fmt(f),
        }
    }
}

impl StdError for CodecError {}

impl Draft<'_> {
    /// Sends a value in this format, and says in the envelope which it is.
    pub fn send_as<C: Codec>(self, value: &(impl Serialize + ?Sized)) -> Result<Ticket, CodecError> {
        let body = C::encode(value)?;
        self.content(C::CONTENT).send(&body).map_err(CodecError::Send)
    }
}

fn decode<C: Codec, T: DeserializeOwned>(content: Content, body: &[u8]) -> Result<T, CodecError> {
    match content {
        // Whoever sent plain bytes may mean anything by them.
        Content::Bytes => C::decode(body),
        found if found == C::CONTENT => C::decode(body),
        found => Err(CodecError::Content { found, expected: C::CONTENT }),
    }
}

impl Delivery<'_> {
    /// The body as a value of this format. One that its sender says is of another format is not tried.
    pub fn read_as<C: Codec, T: DeserializeOwned>(&self) -> Result<T, CodecError> {
        decode::<C, T>(self.content(), &self.body())
    }
}

impl Answer {
    /// The answer as a value of this format.
    pub fn read_as<C: Codec, T: DeserializeOwned>(&self) -> Result<T, CodecError> {
        decode::<C, T>(self.content, &self.body)
    }
}

impl Chunk {
    /// The chunk as a value of this format.
    pub fn read_as<C: Codec, T: DeserializeOwned>(&self) -> Result<T, CodecError> {
        decode::<C, T>(self.content, &self.body)
    }
}

/// JSON, by `serde_json`.
#[cfg(feature = "json")]
#[derive(Debug, Clone, Copy)]
pub enum Json {}

#[cfg(feature = "json")]
impl Codec for Json {
    const CONTENT: Content = Content::Json;

    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
        serde_json::to_vec(value).map_err(CodecError::format)
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
        serde_json::from_slice(bytes).map_err(CodecError::format)
    }
}

/// MessagePack, by `rmp-serde`, with the names of fields.
#[cfg(feature = "msgpack")]
#[derive(Debug, Clone, Copy)]
pub enum MessagePack {}

#[cfg(feature = "msgpack")]
impl Codec for MessagePack {
    const CONTENT: Content = Content::MessagePack;

    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
        rmp_serde::to_vec_named(value).map_err(CodecError::format)
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
        rmp_serde::from_slice(bytes).map_err(CodecError::format)
    }
}

/// CBOR, by `ciborium`.
#[cfg(feature = "cbor")]
#[derive(Debug, Clone, Copy)]
pub enum Cbor {}

#[cfg(feature = "cbor")]
impl Codec for Cbor {
    const CONTENT: Content = Content::Cbor;

    fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
        let mut bytes = Vec::new();
        ciborium::into_writer(value, &mut bytes).map_err(CodecError::format)?;
        Ok(bytes)
    }

    fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
        ciborium::from_reader(bytes).map_err(CodecError::format)
    }
}
