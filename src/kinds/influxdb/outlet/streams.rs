//! Batches over connections that nobody answers on.
//!
//! That all of it was taken is known when the other side closes after our end,
//! and not by a reset: so a batch has a connection of its own.

use std::io;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::kinds::dial::{self, Dialer, Tally, Traffic};
use crate::target::{Failure, Reason};

/// The most that a server may say although nobody asked, in bytes.
const MAX_SAID: usize = 64 << 10;

/// Sends all lines over a connection of their own, and waits until the server has closed it.
///
/// # Errors
/// For `dns`, `connect` or `timeout` of the connection; `other` where it ended before everything was taken; `protocol`
/// where the server talks on and on.
pub async fn send(dialer: &Dialer, lines: &[u8], tally: &Tally) -> Result<(), Failure> {
    let traffic = Rc::new(Traffic::default());
    let mut stream = dialer.dial(&traffic, tally).await?;
    let _metered = tally.meter(&traffic);
    let failed = |error: io::Error| Failure::new(Reason::Other, dial::detail(&error));
    traffic.ask();
    stream.write_all(lines).await.map_err(failed)?;
    stream.shutdown().await.map_err(failed)?;
    let (mut said, mut buffer) = (0, [0; 1024]);
    while said <= MAX_SAID {
        match stream.read(&mut buffer).await.map_err(failed)? {
            0 => return Ok(()),
            more => said += more,
        }
    }
    Err(Failure::new(Reason::Protocol, format_args!("the server said over {MAX_SAID} bytes where nothing was asked")))
}
