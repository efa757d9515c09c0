//! gRPC's side of a call: a head, a message with a prefix of five bytes, and a status behind the answer.
//!
//! It is spoken here, on `h2`, and not by a library's client: that tells what
//! has become of a connection, and what a program itself says, by the same
//! codes, while a hit has a different reason for each.

use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE, USER_AGENT};
use hyper::http::uri::Uri;
use hyper::{Method, Request, StatusCode, Version};
use prost::Message;
use tonic::{Code, Status};

use super::line::Line;
use super::trouble::Trouble;
use crate::golo::{Context, Response};

/// The most bytes of an answer's message, as libraries of gRPC have it.
pub const MAX_ANSWER: usize = 4 << 20;

/// Whom a call is for, and what it calls. The load test is on this machine, by whatever socket.
const URI: &str = "http://localhost/golo.Job/Trigger";
/// What a head says that gRPC is spoken in; a name may follow of how messages are encoded.
const GRPC: &str = "application/grpc";
/// How those are encoded that are spoken here.
const PROTO: &str = "+proto";
/// What stands before a message: whether it is compressed, and its length as four bytes.
const PREFIX: usize = 5;

/// The head of every call.
pub fn head() -> Request<()> {
    let mut head = Request::new(());
    *head.method_mut() = Method::POST;
    *head.uri_mut() = Uri::from_static(URI);
    *head.version_mut() = Version::HTTP_2;
    let headers = head.headers_mut();
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("canihaz/", env!("CARGO_PKG_VERSION"))));
    head
}

/// What a call says: a message, not compressed.
pub fn framed(context: &Context) -> Bytes {
    let message = context.encode_to_vec();
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    // A test's name is far shorter.
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(&message);
    framed.freeze()
}

/// Makes a call on `line`. Dropped before its end it is broken off, and no other call is.
///
/// # Errors
/// It brought no answer.
pub async fn call(line: &Line, head: Request<()>, body: Bytes) -> Result<Response, Trouble> {
    let before = line.written();
    let lost = |error: h2::Error| line.why(&error, line.written() == before);
    let answer = line.call(head, body)?.await.map_err(lost)?;
    let (head, mut body) = answer.into_parts();
    if head.status != StatusCode::OK {
        return Err(Trouble::Foreign(format!("HTTP status {} where gRPC has 200", head.status.as_u16())));
    }
    if !head.headers.get(CONTENT_TYPE).is_some_and(is_grpc) {
        return Err(Trouble::Foreign(format!("an answer whose content-type isn't {GRPC}")));
    }
    // What has no message may say how it went right here.
    let early = status(&head.headers);
    if let Some(status) = early.as_ref().filter(|status| status.code() != Code::Ok) {
        return Err(Trouble::of_status(status));
    }
    let message = read(&mut body, lost).await?;
    let trailers = body.trailers().await.map_err(lost)?;
    match early.or_else(|| status(&trailers?)) {
        Some(status) if status.code() == Code::Ok => unframed(&message),
        Some(status) => Err(Trouble::of_status(&status)),
        None => Err(Trouble::Foreign(String::from("an answer without a gRPC status"))),
    }
}

/// Whether that is what an answer can be understood in.
fn is_grpc(content_type: &HeaderValue) -> bool {
    let Ok(text) = content_type.to_str() else { return false };
    let media = text.split_once(';').map_or(text, |(media, _)| media).trim();
    media.strip_prefix(GRPC).is_some_and(|encoded| encoded.is_empty() || encoded == PROTO)
}

/// What headers or trailers say how a call went, if they do.
fn status(headers: &HeaderMap) -> Option<Status> {
    Status::from_header_map(headers)
}

/// All of an answer that stands before its trailers.
async fn read(body: &mut RecvStream, lost: impl Fn(h2::Error) -> Trouble) -> Result<Bytes, Trouble> {
    let mut all = Bytes::new();
    while let Some(part) = body.data().await {
        let part = part.map_err(&lost)?;
        // Fails where the program has ended the stream, and needs no more leave.
        let _ = body.flow_control().release_capacity(part.len());
        if all.len() + part.len() > PREFIX + MAX_ANSWER {
            return Err(Trouble::TooLarge(MAX_ANSWER));
        }
        all = if all.is_empty() {
            part
        } else {
            let mut longer = BytesMut::from(all);
            longer.extend_from_slice(&part);
            longer.freeze()
        };
    }
    Ok(all)
}

/// The one message that an answer has.
fn unframed(framed: &[u8]) -> Result<Response, Trouble> {
    let foreign = |what: &str| Err(Trouble::Foreign(format!("an answer whose message {what}")));
    let Some((prefix, message)) = framed.split_first_chunk::<PREFIX>() else {
        return foreign("isn't there");
    };
    let [is_compressed, length @ ..] = *prefix;
    if is_compressed != 0 {
        return foreign("is compressed, which nobody asked for");
    }
    if message.len() != u32::from_be_bytes(length) as usize {
        return foreign("isn't as long as it says, or not the only one");
    }
    Response::decode(message).or_else(|error| foreign(&format!("is no golo.Response: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::Reason;

    #[test]
    fn only_grpc_with_protocol_buffers_is_understood() {
        #[track_caller]
        fn check(content_type: &str, expect: bool) {
            assert_eq!(is_grpc(&HeaderValue::from_str(content_type).unwrap()), expect, "{content_type}");
        }
        for sound in ["application/grpc", "application/grpc+proto", "application/grpc; charset=utf-8"] {
            check(sound, true);
        }
        for other in ["", "text/html", "application/grpc-web", "application/grpc+json", "application/json"] {
            check(other, false);
        }
    }

    #[test]
    fn a_call_is_said_as_others_say_it() {
        let said = framed(&Context { job_name: String::from("ab") });
        assert_eq!(said, &b"\0\0\0\0\x04\x0a\x02ab"[..]);
    }

    #[test]
    fn an_answer_is_one_message() {
        #[track_caller]
        fn check(framed: &[u8], expect: Result<&str, &str>) {
            let seen = unframed(framed).map(|response| response.id).map_err(|trouble| {
                assert_eq!(trouble.reason(), Reason::Protocol);
                trouble.to_string()
            });
            let expect = expect.map(str::to_owned).map_err(|what| format!("an answer whose message {what}"));
            assert_eq!(seen, expect);
        }
        check(b"\0\0\0\0\x03\x0a\x01x", Ok("x"));
        check(b"\0\0\0\0\0", Ok(""));
        check(b"", Err("isn't there"));
        check(b"\0\0\0\0", Err("isn't there"));
        check(b"\x01\0\0\0\x03\x0a\x01x", Err("is compressed, which nobody asked for"));
        for length in [2, 4, 0xff] {
            check(&[0, length, 0, 0, 3, 10, 1, 120], Err("isn't as long as it says, or not the only one"));
            check(&[0, 0, 0, 0, length, 10, 1, 120], Err("isn't as long as it says, or not the only one"));
        }
        let garbage = unframed(b"\0\0\0\0\x03\x0a\x09x").unwrap_err();
        assert!(garbage.to_string().starts_with("an answer whose message is no golo.Response: "), "{garbage}");
    }
}
