//! What is asked of a tool, and of whom it asks it.

/// Connections that a tool has unless the scene says otherwise.
const CONNECTIONS: u32 = 10;
/// The hits a second while hits get stuck, and at start-up.
const ORDINARY: u32 = 1_000;
/// How many seconds the stall lasts, in which 2,000 hits get stuck.
pub const STALL: u64 = 2;
/// How many seconds go before the stall, once a tool has all its connections, and after it.
pub const AROUND: u64 = 1;

/// One measurement; every tool that can, takes part.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scene {
    /// At a rate, against the server that stamps arrivals.
    Paced(u32),
    /// The same without canihaz's shared wake-ups: canihaz alone.
    Exact(u32),
    /// The same on one connection: wrk2 alone, which deals its rate out to its connections.
    Single(u32),
    /// At a rate, against nginx.
    Served(u32),
    /// As fast as it can, against nginx.
    Flat,
    /// At 1,000 a second against a server that answers nothing for 2 s.
    Stuck,
    /// Started at 1,000 a second, until shortly after the first request.
    Start,
}

impl Scene {
    /// Its name in the raw figures.
    pub fn name(self) -> &'static str {
        match self {
            Self::Paced(_) => "paced",
            Self::Exact(_) => "exact",
            Self::Single(_) => "single",
            Self::Served(_) => "served",
            Self::Flat => "flat",
            Self::Stuck => "stuck",
            Self::Start => "start",
        }
    }

    /// The hits a second that a tool is asked for; `None` for all that it can.
    pub fn rate(self) -> Option<u32> {
        match self {
            Self::Paced(rate) | Self::Exact(rate) | Self::Single(rate) | Self::Served(rate) => Some(rate),
            Self::Stuck | Self::Start => Some(ORDINARY),
            Self::Flat => None,
        }
    }

    /// The connections of tools that want a number of them.
    pub fn connections(self) -> u32 {
        match self {
            Self::Single(_) => 1,
            Self::Stuck => ORDINARY * STALL as u32,
            _ => CONNECTIONS,
        }
    }

    /// How often it is repeated within each repetition.
    pub fn times(self) -> u32 {
        if self == Self::Start { 5 } else { 1 }
    }

    /// Whether nginx is asked; the server that stamps otherwise.
    pub fn is_served(self) -> bool {
        matches!(self, Self::Served(_) | Self::Flat)
    }
}
