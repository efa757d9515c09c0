//! One request over HTTP/2, and its answer, which is judged while it comes in.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Error, RecvStream, SendStream};
use hyper::{Request, Response};

use super::lost::Lost;
use super::sessions::Place;
use crate::kinds::http::connection::Answered;
use crate::kinds::http::expect::{Judge, Judgement};
use crate::kinds::http::head::Head;
use crate::target::Failure;

/// One request on its way. What is dropped before its end is broken off, and nothing else on the connection is.
struct Exchange<'a> {
    /// What of the body was not sent yet, and where that goes; `None` when nothing is to be sent any more.
    sending: Option<(SendStream<Bytes>, Bytes)>,
    receiving: Receiving<'a>,
    head: Head,
}

enum Receiving<'a> {
    Head(ResponseFuture),
    Body(RecvStream, Option<Judgement<'a>>),
}

/// How an exchange ended.
enum Over {
    /// With an answer: what is wrong with it.
    Answer(Option<Failure>),
    /// In the midst of one.
    CutOff(Option<Failure>),
}

/// Sends a request and reads its answer to the end, judging it; `heard` is told when its head came.
///
/// # Errors
/// There was no answer.
pub async fn ask(
    place: &Place,
    head: Request<()>,
    body: Bytes,
    judge: &Judge,
    heard: impl Fn(Instant),
) -> Result<Answered, Lost> {
    poll_fn(|cx| {
        place.enroll(cx);
        Poll::Ready(())
    })
    .await;
    let mut exchange = Exchange::begin(place, head, body)?;
    // With others on the connection it is sent with what they send now, by the one that is woken for that.
    let mut is_sent_with_others = !place.is_alone();
    let over = poll_fn(|cx| {
        if !std::mem::take(&mut is_sent_with_others) {
            place.attend(cx);
        }
        exchange.poll(cx, place, judge, &heard)
    })
    .await?;
    let (failure, ended) = match over {
        Over::Answer(failure) => (failure, place.traffic().arrived.get()),
        Over::CutOff(failure) => (failure, None),
    };
    let Exchange { head, .. } = exchange;
    Ok(Answered { failure, head, is_sent: true, persists: true, ended })
}

impl<'a> Exchange<'a> {
    fn begin(place: &Place, head: Request<()>, body: Bytes) -> Result<Self, Lost> {
        let (response, stream) = place.request(head, body.is_empty())?;
        let sending = (!body.is_empty()).then_some((stream, body));
        Ok(Self { sending, receiving: Receiving::Head(response), head: Head::default() })
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        place: &Place,
        judge: &'a Judge,
        heard: &impl Fn(Instant),
    ) -> Poll<Result<Over, Lost>> {
        // A server may have answered before it has read everything.
        if let Some((stream, body)) = &mut self.sending
            && poll_send(stream, body, cx).is_ready()
        {
            self.sending = None;
        }
        loop {
            match &mut self.receiving {
                Receiving::Head(response) => {
                    let (parts, body) = match ready!(Pin::new(response).poll(cx)) {
                        Ok(response) => Response::into_parts(response),
                        Err(error) => return Poll::Ready(Err(place.lost(error))),
                    };
                    place.traffic().arrived.get().into_iter().for_each(heard);
                    self.head = judge.head(parts.status.as_u16());
                    for (name, value) in &parts.headers {
                        self.head.note(name.as_str(), value.as_bytes());
                    }
                    self.receiving = Receiving::Body(body, Some(judge.begin(&self.head)));
                }
                Receiving::Body(stream, judgement) => {
                    let part = ready!(stream.poll_data(cx));
                    let over = take(part, stream, judgement, place);
                    if let Some(over) = over {
                        return Poll::Ready(Ok(over));
                    }
                }
            }
        }
    }
}

/// Looks at what has come of a body; `None` when there is more to come. Trailers are nothing to look at.
fn take(
    part: Option<Result<Bytes, Error>>,
    stream: &mut RecvStream,
    judgement: &mut Option<Judgement<'_>>,
    place: &Place,
) -> Option<Over> {
    match part {
        Some(Ok(part)) => {
            if judgement.as_mut().is_some_and(|judgement| judgement.take(&part)) {
                // Fails where the server has ended the stream, and needs no more leave.
                let _ = stream.flow_control().release_capacity(part.len());
                return None;
            }
            Some(Over::CutOff(judgement.take().and_then(Judgement::end)))
        }
        Some(Err(error)) => {
            let failure = Failure::from(place.lost(error));
            Some(Over::CutOff(judgement.take().and_then(|judgement| judgement.cut_off(failure.detail))))
        }
        None => Some(Over::Answer(judgement.take().and_then(Judgement::end))),
    }
}

/// Sends as much of a body as the server takes now; ready when that was all, or there is no use in more: why, the
/// answer tells.
fn poll_send(stream: &mut SendStream<Bytes>, body: &mut Bytes, cx: &mut Context<'_>) -> Poll<()> {
    loop {
        stream.reserve_capacity(body.len());
        // It tells of more room, not of what there was before.
        if stream.capacity() == 0 && !matches!(ready!(stream.poll_capacity(cx)), Some(Ok(_))) {
            return Poll::Ready(());
        }
        let part = body.split_to(stream.capacity().min(body.len()));
        if stream.send_data(part, body.is_empty()).is_err() || body.is_empty() {
            return Poll::Ready(());
        }
    }
}
