//! One server: the way there, and the connections that wait for the next hit, or are shared by several.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::connection::{Answered, Connection, Lost};
use super::cookies::path_of;
use super::expect::Judge;
use super::forward::Forward;
use super::h2::{self, Again, Mark, Place, Sessions, Taken, Translated, Turn};
use super::request::Request;
use super::settings::Http2;
use super::url::Url;
use crate::kinds::dial::{self, Dialer, Doing, Peer, Pool, Sharing, Stream, Tally, Traffic};
use crate::target::{Failure, Reason};

/// What ALPN calls HTTP/1.1.
const HTTP_1: &[u8] = b"http/1.1";

/// What holds for all servers that a target speaks to.
#[derive(Clone, Debug)]
pub struct Terms {
    /// How long a hit may take.
    pub timeout: Duration,
    /// Whether connections are used again.
    pub keep_alive: bool,
    /// Whether HTTP/2 is spoken.
    pub http2: Http2,
    /// How connections are got.
    pub dial: dial::Settings,
    /// Whether hits share the thread's wake-ups.
    pub sharing: Sharing,
}

/// A scheme, host and port.
#[derive(Debug)]
pub struct Site {
    dialer: Dialer,
    /// Where a proxy speaks to it in our place.
    forward: Option<Forward>,
    pool: Pool<Connection>,
    keep_alive: bool,
    /// Where HTTP/2 may be spoken. Boxed, as it is not looked at by hits that can't.
    shared: Option<Box<Shared>>,
}

/// What HTTP/2 has in the place of a pool.
#[derive(Debug)]
struct Shared {
    sessions: Sessions,
    translated: Translated,
    tls: bool,
    /// Whether nothing else is spoken.
    is_only: bool,
}

/// What a hit that may speak HTTP/2 finds.
enum Found {
    /// A place on a connection.
    Place(Place),
    /// A place on one that it has opened.
    New(Place),
    /// That the server speaks HTTP/1.1, and maybe a connection.
    Http1(Option<(Stream, Rc<Traffic>)>),
}

/// A connection that was opened.
enum Opened<'a> {
    /// For one hit at a time, of which this is the first.
    Own(Box<Connection>, FirstByte<'a>),
    /// A place on one that speaks HTTP/2.
    Shared(&'a Shared, Place),
}

/// Tells a hit, however it ends, how long the first byte over its new connection took.
struct FirstByte<'a> {
    begin: Instant,
    traffic: Rc<Traffic>,
    tally: &'a Tally,
}

impl Site {
    /// The server of `url`.
    ///
    /// # Errors
    /// The host has a name that no certificate can bear, or the system has no root certificates.
    pub fn new(url: &Url, terms: &Terms) -> anyhow::Result<Self> {
        let alpn: &[&[u8]] = match terms.http2 {
            Http2::Alpn => &[h2::ALPN, HTTP_1],
            Http2::Never => &[HTTP_1],
            Http2::PriorKnowledge => &[h2::ALPN],
        };
        let peer = Peer { host: url.host.clone(), port: url.port, tls: url.tls.then_some(alpn) };
        let dialer = Dialer::new(&peer, &terms.dial, terms.timeout, terms.sharing.clone())?;
        let forward = Forward::new(url, &terms.dial);
        let is_only = terms.http2 == Http2::PriorKnowledge;
        // A proxy that speaks to the server in our place is spoken to in HTTP/1.1.
        let shared = (terms.http2.may_be_spoken(url.tls) && forward.is_none()).then(|| {
            let (sessions, translated) = (Sessions::default(), Translated::default());
            Box::new(Shared { sessions, translated, tls: url.tls, is_only })
        });
        Ok(Self { dialer, forward, pool: Pool::default(), keep_alive: terms.keep_alive, shared })
    }

    /// The same, whose connections rest so long after an answer: as long as they do, others are opened.
    pub fn resting(self, rest: Duration) -> Self {
        Self { pool: Pool::resting(rest), ..self }
    }

    /// Sends a request over a connection that is at hand, or a new one, and has its answer judged.
    ///
    /// # Errors
    /// Where there was no answer.
    pub async fn ask(&self, request: &Request, judge: &Judge, tally: &Tally) -> Result<Answered, Failure> {
        if let Some(shared) = &self.shared
            && !shared.sessions.speaks_http_1()
            && let Some(answered) = Box::pin(self.ask_shared(shared, request, judge, tally)).await?
        {
            return Ok(answered);
        }
        let mut idle = self.pool.take(request.idempotent).await;
        loop {
            let (connection, first_byte) = match idle.take() {
                Some(connection) => (connection, None),
                // Boxed, as it is large, seldom needed, and over before the server is asked.
                None => match Box::pin(self.connect(tally)).await? {
                    Opened::Own(connection, first_byte) => (connection, Some(first_byte)),
                    Opened::Shared(shared, place) => {
                        return Ok(Box::pin(shared.ask_over(place, true, request, judge, tally)).await??);
                    }
                },
            };
            let was_idle = first_byte.is_none();
            match self.ask_over(connection, request, judge, tally).await {
                Ok(answered) => return Ok(answered),
                Err(lost) if was_idle && lost.unsent => {}
                Err(lost) if was_idle && lost.unanswered && request.idempotent => {}
                Err(lost) => return Err(lost.into()),
            }
        }
    }

    /// Opens a connection, for a hit that took the server to speak HTTP/1.1.
    async fn connect<'a>(&'a self, tally: &'a Tally) -> Result<Opened<'a>, Failure> {
        let traffic = Rc::new(Traffic::default());
        let stream = self.dialer.dial(&traffic, tally).await?;
        match &self.shared {
            Some(shared) if stream.alpn() == Some(h2::ALPN) => {
                // It has learned that since.
                shared.sessions.speak_http_2();
                let place = shared.sessions.alone(stream, traffic).await?;
                Ok(Opened::Shared(shared, place))
            }
            _ => {
                let connection = Connection::new(stream, Rc::clone(&traffic));
                Ok(Opened::Own(Box::new(connection), FirstByte { begin: Instant::now(), traffic, tally }))
            }
        }
    }

    /// Asks over a connection that was opened for it.
    async fn ask_first(
        &self,
        stream: Stream,
        traffic: Rc<Traffic>,
        request: &Request,
        judge: &Judge,
        tally: &Tally,
    ) -> Result<Result<Answered, Lost>, Failure> {
        let connection = Connection::new(stream, Rc::clone(&traffic));
        let _first_byte = FirstByte { begin: Instant::now(), traffic, tally };
        Ok(self.ask_over(Box::new(connection), request, judge, tally).await)
    }

    /// Asks over a connection, and keeps it for another hit where that is possible.
    async fn ask_over(
        &self,
        mut connection: Box<Connection>,
        request: &Request,
        judge: &Judge,
        tally: &Tally,
    ) -> Result<Answered, Lost> {
        let _metered = tally.meter(&connection.traffic);
        let forwarded = self.forward.as_ref().map(|forward| Box::new(forward.request(request)));
        let request = forwarded.as_deref().unwrap_or(request);
        let answered = connection.ask(request, judge).await?;
        tally.end(answered.ended);
        if answered.persists && self.keep_alive {
            self.pool.put(connection);
        }
        Ok(answered)
    }

    /// Asks over a connection that others are on, too, or a new one; `None` if it turns out that the server speaks
    /// HTTP/1.1, and nothing was asked.
    async fn ask_shared(
        &self,
        shared: &Shared,
        request: &Request,
        judge: &Judge,
        tally: &Tally,
    ) -> Result<Option<Answered>, Failure> {
        let mut again = Again::default();
        let mut left = None;
        loop {
            let (place, is_new) = match self.find(shared, left.as_ref(), tally).await? {
                Found::Place(place) => (place, false),
                Found::New(place) => (place, true),
                Found::Http1(Some((stream, traffic))) => {
                    let asked = self.ask_first(stream, traffic, request, judge, tally).await?;
                    return Ok(Some(asked?));
                }
                Found::Http1(None) => return Ok(None),
            };
            left = Some(place.mark());
            match shared.ask_over(place, is_new, request, judge, tally).await? {
                Ok(answered) => return Ok(Some(answered)),
                Err(lost) if again.is_sent(&lost, request.idempotent) => {}
                Err(lost) => return Err(lost.into()),
            }
        }
    }

    /// A place on a connection other than the one that was left, which is opened where need be.
    async fn find(&self, shared: &Shared, left: Option<&Mark>, tally: &Tally) -> Result<Found, Failure> {
        let turn = match self.keep_alive {
            true => {
                tally.begin(Doing::Waiting);
                let taken = shared.sessions.take(left).await?;
                tally.begin(Doing::Asking);
                match taken {
                    Taken::Place(place) => return Ok(Found::Place(place)),
                    Taken::Http1 => return Ok(Found::Http1(None)),
                    Taken::Turn(turn) => Some(turn),
                }
            }
            false => None,
        };
        let opened = self.open(shared, turn.as_ref(), tally).await;
        if let (Err(failure), Some(turn)) = (&opened, turn) {
            turn.failed(failure);
        }
        opened
    }

    /// Opens a connection, for a hit whose turn that is, or for that hit alone.
    async fn open(&self, shared: &Shared, turn: Option<&Turn>, tally: &Tally) -> Result<Found, Failure> {
        let traffic = Rc::new(Traffic::default());
        let stream = self.dialer.dial(&traffic, tally).await?;
        let _metered = tally.meter(&traffic);
        match stream.alpn() {
            Some(h2::ALPN) => {}
            other if shared.tls && shared.is_only => {
                let spoken = other.map_or("nothing".into(), String::from_utf8_lossy);
                let detail = format_args!("the server was to agree on HTTP/2 by ALPN, and agreed on {spoken}");
                return Err(Failure::new(Reason::Protocol, detail));
            }
            _ if shared.is_only => {}
            _ => {
                shared.sessions.speak_http_1();
                return Ok(Found::Http1(Some((stream, Rc::clone(&traffic)))));
            }
        }
        let place = match turn {
            Some(turn) => turn.opened(stream, Rc::clone(&traffic)).await,
            None => shared.sessions.alone(stream, Rc::clone(&traffic)).await,
        };
        Ok(Found::New(place?))
    }
}

impl Shared {
    /// Asks over a connection that others may be on, too.
    async fn ask_over(
        &self,
        place: Place,
        is_new: bool,
        request: &Request,
        judge: &Judge,
        tally: &Tally,
    ) -> Result<Result<Answered, h2::Lost>, Failure> {
        let translate = |head: &[u8]| self.translated.head(head, self.tls);
        let Some(head) = place.session().dress(&request.head, translate) else {
            return Err(Failure::new(Reason::Other, "HTTP/2 can't ask for this Host"));
        };
        let _metered = tally.meter(place.traffic());
        // Left before that is counted.
        let place = place;
        let begin = Instant::now();
        let heard = |first: Instant| {
            if is_new {
                tally.first_byte(first.saturating_duration_since(begin));
            }
        };
        let asked = h2::ask(&place, head, request.body.bytes(), judge, heard).await;
        if let Ok(answered) = &asked {
            tally.end(answered.ended);
            place.session().keep(answered.head.cookies(), path_of(&request.head), self.tls);
        }
        Ok(asked)
    }
}

impl Drop for FirstByte<'_> {
    fn drop(&mut self) {
        if let Some(heard) = self.traffic.heard.get() {
            self.tally.first_byte(heard.saturating_duration_since(self.begin));
        }
    }
}
