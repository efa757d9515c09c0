//! Asking an HTTPS server for a file: by https through every redirect, and no more of it than was allowed.
//!
//! No proxy named in the environment is used: what decides is in files.

use std::error::Error;
use std::io;
use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use log::debug;
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, StatusCode, Url};
use tokio::runtime;

use super::location::{Location, shown};
use super::patience::Patience;
use crate::AGENT;
use crate::kinds::dial;

/// The most redirects that are followed.
const MAX_REDIRECTS: usize = 10;
/// How long a connection may take, with name and TLS.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a server may say nothing.
const SILENCE: Duration = Duration::from_secs(10);
/// The most of an error's own words, in characters.
const MAX_WORDS: usize = 300;

/// Asks for what is at `location`, and has `take` have it piece by piece: at most `most` bytes in all. Takes as long as
/// that takes, at most until `patience` is over.
///
/// # Errors
/// Why there isn't all of it; `patience` that is over; or `take`'s own.
pub fn fetch(
    location: &Location,
    dial: &dial::Settings,
    most: u64,
    patience: &Patience<'_>,
    take: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let tls = dial::tls_config(dial, &[])?;
    let client = Client::builder()
        .user_agent(AGENT)
        .tls_backend_preconfigured(tls.as_ref().clone())
        .https_only(true)
        .redirect(Policy::custom(follow))
        // It would carry a query elsewhere.
        .referer(false)
        .no_proxy()
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .build();
    let client = client.map_err(reqwest::Error::without_url).context("cannot make an HTTP client")?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build().context("cannot wait for a server")?;
    let done = runtime.block_on(async {
        tokio::select! {
            biased;
            over = patience.over() => Err(over.into()),
            done = ask(&client, location.url(), most, take) => done,
        }
    });
    // A name's look-up can't be broken off, and nobody waits for it any more.
    runtime.shutdown_background();
    done
}

/// Follows a redirect, unless it leads away from https, or there are too many.
fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    // The first of the previous ones is no redirect.
    if attempt.url().scheme() != "https" {
        attempt.error("it is redirected to what is no https URL")
    } else if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error(format!("it is redirected more than {MAX_REDIRECTS} times"))
    } else {
        attempt.follow()
    }
}

async fn ask(
    client: &Client,
    url: &Url,
    most: u64,
    mut take: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut response = client.get(url.clone()).send().await.map_err(|error| failed(&error, url))?;
    if response.status() != StatusCode::OK {
        bail!("{} answered {}", asked(url, &response), response.status());
    }
    let length = response.content_length();
    ensure!(length.is_none_or(|length| length <= most), "it is larger than {most} bytes");
    let last = response.url().clone();
    let mut length = 0;
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&error, &last))? {
        length += chunk.len() as u64;
        ensure!(length <= most, "it is larger than {most} bytes");
        take(&chunk)?;
    }
    debug!("{} sent {length} bytes", asked(url, &response));
    Ok(())
}

/// Who has answered.
fn asked(url: &Url, response: &Response) -> String {
    match response.url() {
        last if last == url => shown(url),
        last => format!("{}, which leads to {},", shown(url), shown(last)),
    }
}

/// What kept the server of `url`, or one that it leads to, from sending all of it, in words.
fn failed(error: &reqwest::Error, url: &Url) -> anyhow::Error {
    let server = error.url().unwrap_or(url).host_str().unwrap_or_default();
    let chain = || std::iter::successors(Some(error as &(dyn Error + 'static)), |&error| error.source());
    let by_system = chain().find_map(|error| error.downcast_ref::<io::Error>());
    let words = match by_system {
        _ if error.is_timeout() && error.is_connect() => format!("no connection after {CONNECT:?}"),
        _ if error.is_timeout() => format!("it said nothing for {SILENCE:?}"),
        Some(error) => dial::detail(innermost(error)),
        None => chain().last().map_or_else(String::new, ToString::to_string),
    };
    let words: String = words.chars().take(MAX_WORDS).collect();
    anyhow!("{server}: {words}")
}

/// The first cause of an error of which each says what the next one does.
fn innermost(mut error: &io::Error) -> &io::Error {
    while let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<io::Error>()) {
        error = inner;
    }
    error
}
