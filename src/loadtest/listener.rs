//! Listens for the agent, and runs a journey for each of its calls.
//!
//! This is gRPC by hyper's HTTP/2 and tonic's generated service. tonic's own
//! server would wait for all journeys before it ends, and has little to add to
//! one method for one caller.

use std::convert::Infallible;
use std::env;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::Context;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use log::debug;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Handle};
use tokio::signal::unix::{SignalKind, signal};
use tonic::codegen::Service;
use tonic::{Request, Response, Status};

use super::address::{Address, Connection, Listener, RPC_ADDR_VARIABLE};
use super::runner::{Runner, Server};
use super::words::{reason, words};
use super::{Error, sequence};
use crate::golo;
use crate::golo::job_server::{Job, JobServer};
use crate::target::Reason;

/// How long journeys that are given up may take to notice: they do at their next await.
const END: Duration = Duration::from_secs(1);
/// What it waits before accepting again after it couldn't: descriptors may have run out.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// How many calls that are taken back before they were looked at are no attack: an agent gives up on all its journeys
/// at once, and may have a million.
const MAX_TAKEN_BACK: usize = 1 << 20;

/// Listens for the agent and runs its journeys, until SIGTERM or SIGINT come; then all journeys are given up.
///
/// It listens where the agent says in `CANIHAZ_RPC_ADDR`, or else on [`RPC_ADDR`](super::RPC_ADDR). A socket that a
/// dead process has left there is replaced. It has a tokio runtime of its own, with a thread a core, so that `main`
/// isn't async.
///
/// # Errors
/// It can't listen: the address is malformed, or taken. Or it was called in a runtime.
pub fn start_listener<R: Runner>(server: Server<R>) -> Result<(), Error> {
    if Handle::try_current().is_ok() {
        return Err("start_listener has a tokio runtime of its own: call it from a main that isn't async".into());
    }
    let address = Address::of(env::var_os(RPC_ADDR_VARIABLE).as_deref())?;
    let runtime = Builder::new_multi_thread().enable_all().thread_name("journeys").build()?;
    let ended = runtime.block_on(async {
        // First of all, so that who was told to end while it began to listen does.
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let listener = address.listen().await?;
        tokio::select! {
            never = accept(&listener, JobServer::new(Journeys(server))) => match never {},
            _ = terminate.recv() => anyhow::Ok(()),
            _ = interrupt.recv() => Ok(()),
        }
    });
    runtime.shutdown_timeout(END);
    Ok(ended.context("a load test can't be started")?)
}

/// Runs a journey a call.
struct Journeys<R>(Server<R>);

#[tonic::async_trait]
impl<R: Runner> Job for Journeys<R> {
    async fn trigger(&self, told: Request<golo::Context>) -> Result<Response<golo::Response>, Status> {
        let begun = Instant::now();
        let (ended, id) = sequence::noting(self.0.run(&(), &())).await;
        let duration = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let job_name = told.into_inner().job_name;
        let went = golo::Response { id, job_name, duration, ..golo::Response::default() };
        Ok(Response::new(match ended {
            Ok(()) => went,
            Err(error) => {
                let tags = vec![reason_tag(reason(&*error))];
                golo::Response { error: true, output: words(&*error), tags, ..went }
            }
        }))
    }
}

/// What counts the failed hit where it belongs.
fn reason_tag(reason: Reason) -> golo::ResponseTag {
    golo::ResponseTag { key: String::from("reason"), value: String::from(reason.name()) }
}

async fn accept<R: Runner>(listener: &Listener, job: JobServer<Journeys<R>>) -> Infallible {
    loop {
        match listener.accept().await {
            Ok(Connection::Tcp(stream)) => drop(tokio::spawn(serve(stream, job.clone()))),
            Ok(Connection::Unix(stream)) => drop(tokio::spawn(serve(stream, job.clone()))),
            Err(error) => {
                // Where there is no standard error, nobody can be told.
                let _ = writeln!(io::stderr(), "cannot accept the agent's connection: {error}");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Serves a connection to its end. A call that is taken back, or whose connection is gone, is a journey that is
/// dropped.
async fn serve<R, I>(stream: I, job: JobServer<Journeys<R>>)
where
    R: Runner,
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request| job.clone().call(request));
    let served = http2::Builder::new(TokioExecutor::new())
        // As many as the type's overtime.
        .max_concurrent_streams(None)
        .max_pending_accept_reset_streams(MAX_TAKEN_BACK)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        debug!("a connection of the agent's: {error}");
    }
}
