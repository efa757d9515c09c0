//! HTTP/2 by the byte (RFC 9113), for servers that do what no good server does.

use std::io::Read;

/// What a client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The types of frames that matter here.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
/// The flag of HEADERS that says that no more of them follow.
const END_HEADERS: u8 = 4;

/// Codes of errors.
pub const PROTOCOL_ERROR: u32 = 1;
/// The server can't go on.
pub const INTERNAL_ERROR: u32 = 2;
/// The stream is no longer wanted.
pub const CANCEL: u32 = 8;
/// The client asks for too much.
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// SETTINGS in which everything is as usual.
pub fn settings() -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[])
}

/// GOAWAY with a code; all streams may have been looked at.
pub fn goaway(code: u32) -> Vec<u8> {
    goaway_before(u32::MAX >> 1, code)
}

/// GOAWAY with a code, in which `stream` is the last that may have been looked at.
pub fn goaway_before(stream: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[stream.to_be_bytes(), code.to_be_bytes()].concat())
}

/// RST_STREAM of a stream, with a code.
pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// HEADERS that say 200, and nothing else.
pub fn ok(stream: u32) -> Vec<u8> {
    // The status is number 8 of HPACK's static table (RFC 7541).
    frame(HEADERS, END_HEADERS, stream, &[0x80 | 8])
}

/// A part of a body.
pub fn data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, 0, stream, bytes)
}

/// Reads until a request begins, and says on which stream; `None` at the connection's end.
pub fn read_request(client: &mut impl Read) -> Option<u32> {
    loop {
        let mut head = [0; 9];
        client.read_exact(&mut head).ok()?;
        if PREFACE.starts_with(&head) {
            client.read_exact(&mut [0; PREFACE.len() - 9]).ok()?;
            continue;
        }
        let [a, b, c, kind, _, stream @ ..] = head;
        std::io::copy(&mut client.take(u32::from_be_bytes([0, a, b, c]).into()), &mut std::io::sink()).ok()?;
        if kind == HEADERS {
            return Some(u32::from_be_bytes(stream));
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("frames are short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
