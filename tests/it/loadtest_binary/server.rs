//! An HTTPS server that answers as a test wants it to, a request a connection, and keeps account of them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::parts::certificates::Certificate;
use crate::parts::tls;

/// What a request is answered with.
pub struct Reply {
    bytes: Vec<u8>,
    then: Then,
}

/// What follows it.
pub enum Then {
    /// The end of the connection.
    Close,
    /// Nothing, until the client goes.
    Stall,
    /// These, with so many bytes between them, until the client goes.
    Repeat(&'static [u8], usize, &'static [u8]),
}

/// The running server; it accepts nothing more when dropped.
pub struct Web {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Reply {
    /// These bytes, whatever they are.
    pub fn raw(bytes: &[u8], then: Then) -> Self {
        Self { bytes: bytes.to_owned(), then }
    }

    /// 200 with this body.
    pub fn ok(body: &[u8]) -> Self {
        let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        Self { bytes: [head.as_bytes(), body].concat(), then: Then::Close }
    }

    /// 302.
    pub fn redirect(to: &str) -> Self {
        let head = format!("HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
        Self { bytes: head.into_bytes(), then: Then::Close }
    }
}

impl Web {
    /// Starts one that shows a certificate for 127.0.0.1 and answers requests for a path, query included, so.
    pub fn start(certificate: &Certificate, reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let config = tls::config(certificate, None, &[]);
        let (asked, is_over, reply) =
            (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default(), Arc::new(reply));
        let (account, over) = (Arc::clone(&asked), Arc::clone(&is_over));
        let thread = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                let (config, account, reply) = (Arc::clone(&config), Arc::clone(&account), Arc::clone(&reply));
                thread::spawn(move || {
                    let Some(mut stream) = tls::accept(&config, &stream) else { return };
                    let Some(path) = path(&mut stream) else { return };
                    account.lock().expect("nobody panics with it").push(path.clone());
                    // Who is gone needs no answer.
                    let _ = answer(&mut stream, &reply(&path));
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                });
            }
        });
        Self { port, asked, is_over, thread: Some(thread) }
    }

    /// The URL of `path` here.
    pub fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }

    /// What was asked for so far, in that order.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panics with it").clone()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        // Should it have panicked, there is nothing more to end.
        let _ = self.thread.take().map(thread::JoinHandle::join);
    }
}

/// What a request asks for; `None` where none comes.
fn path(stream: &mut impl Read) -> Option<String> {
    let mut stream = BufReader::new(stream);
    let mut path = None;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|length| *length > 0)?;
        if line == "\r\n" {
            return path;
        }
        path = path.or_else(|| line.split(' ').nth(1).map(ToOwned::to_owned));
    }
}

fn answer(stream: &mut (impl Read + Write), reply: &Reply) -> std::io::Result<()> {
    stream.write_all(&reply.bytes)?;
    stream.flush()?;
    match reply.then {
        Then::Close => Ok(()),
        Then::Stall => stream.read(&mut [0]).map(drop),
        Then::Repeat(before, length, behind) => loop {
            stream.write_all(&[before, &vec![0; length], behind].concat())?;
        },
    }
}
