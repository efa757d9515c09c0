//! One request of a journey: performed, timed, and told in one line.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use chrono::Utc;
use reqwest::{Client, Method, Request, Response, ResponseBuilderExt, Url};

use super::client::client;
use super::sequence;
use super::words::words;
use crate::golo::Output;
use crate::golo::output::{NO_SIZE, NO_STATUS, without_credentials};

/// Performs a request with the [client](super::client), and prints an [`Output`] of it.
///
/// It is timed from before it is sent until the last byte of the answer's body is read: what connecting, and the
/// redirects that the client follows, take is in it. The line is printed behind that, in one piece, whatever
/// other threads do; its URL is the one that was asked for, without user and password.
///
/// The answer has its body with it, so that `text()`, `json()` and `bytes()` don't wait. A status of
/// 400 and above is an answer, not an error; `error_for_status()` makes it one.
///
/// ```no_run
/// use canihaz::loadtest::{Error, client, do_request, new_sequence_id};
///
/// async fn log_in_and_search(url: &str) -> Result<(), Error> {
///     let journey = new_sequence_id();
///     let login = client().post(format!("{url}/login")).form(&[("user", "joe")]).build()?;
///     let token = do_request(&journey, login).await?.error_for_status()?.text().await?;
///     let search = client().get(format!("{url}/search?q=cats")).bearer_auth(token).build()?;
///     do_request(&journey, search).await?.error_for_status()?;
///     Ok(())
/// }
/// ```
///
/// # Errors
/// The request could not be sent, or its answer didn't come whole. The line says so, too: status 0, size -1.
///
/// # Cancellation
/// A request whose future is dropped before its end, as the agent gave up on the journey, say, is told as an error.
pub async fn do_request(sequence_id: &str, request: Request) -> Result<Response, reqwest::Error> {
    do_request_with(&client(), sequence_id, request).await
}

/// As [`do_request`], by a client of the journey's own: one with cookies, say, which are one user's.
///
/// Such a client has connections of its own, too. Make it where a user arrives, and not for each request.
///
/// # Errors
/// As [`do_request`].
pub async fn do_request_with(client: &Client, sequence_id: &str, request: Request) -> Result<Response, reqwest::Error> {
    sequence::note(sequence_id);
    let telling = Telling::of(sequence_id, &request);
    let answered = perform(client, request).await;
    let took = telling.begun.elapsed();
    match answered {
        Ok((response, size)) => {
            telling.tell(took, response.status().as_u16(), size, None);
            Ok(response)
        }
        Err(error) => {
            // The line has the URL already, and without a password.
            let url = error.url().cloned();
            let error = error.without_url();
            telling.tell(took, NO_STATUS, NO_SIZE, Some(words(&error)));
            Err(match url {
                Some(url) => error.with_url(url),
                None => error,
            })
        }
    }
}

/// The answer with its body, and the body's length in bytes.
async fn perform(client: &Client, request: Request) -> Result<(Response, i64), reqwest::Error> {
    let method = request.method().clone();
    let mut response = client.execute(request).await?;
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
    }
    let size = i64::try_from(body.len()).unwrap_or(i64::MAX);
    Ok((with_body(response, method, body), size))
}

/// An answer that was read, as if it were to be read. [`Output::parse`] finds the method in it.
fn with_body(mut read: Response, method: Method, body: Vec<u8>) -> Response {
    // The builder is for the URL, which nothing else can set.
    let url: Url = read.url().clone();
    let mut response = hyper::Response::builder().url(url).body(body).expect("all parts are whole");
    *response.status_mut() = read.status();
    *response.version_mut() = read.version();
    *response.headers_mut() = std::mem::take(read.headers_mut());
    response.extensions_mut().extend(std::mem::take(read.extensions_mut()));
    response.extensions_mut().insert(method);
    response.into()
}

/// What is known of a request before its end. It is told when this is dropped, at the latest.
struct Telling {
    output: Output,
    begun: Instant,
    told: bool,
}

impl Telling {
    fn of(sequence_id: &str, request: &Request) -> Self {
        let output = Output {
            sequence_id: sequence_id.to_owned(),
            url: without_credentials(request.url()),
            method: request.method().to_string(),
            status: NO_STATUS,
            size: NO_SIZE,
            timestamp: Utc::now(),
            duration: Duration::ZERO,
            error: None,
        };
        Self { output, begun: Instant::now(), told: false }
    }

    fn tell(mut self, took: Duration, status: u16, size: i64, error: Option<String>) {
        self.output.status = status;
        self.output.size = size;
        self.output.error = error;
        self.print(took);
    }

    fn print(&mut self, took: Duration) {
        self.told = true;
        self.output.duration = took;
        self.output.timestamp = Utc::now();
        print(&self.output);
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        if !self.told {
            self.output.error = Some(String::from("given up before its end"));
            self.print(self.begun.elapsed());
        }
    }
}

/// Prints a line in one piece. An agent that is gone hears nothing, and the next signal will say so.
fn print(output: &Output) {
    let line = format!("{output}\n");
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush());
}
