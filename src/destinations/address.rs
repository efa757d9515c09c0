//! The `address` of a destination: a `host:port` that is looked up anew for
//! every batch, as it may have moved since.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use anyhow::{Context, Error, anyhow};

use super::Refusal;
use crate::keys::Keys;

/// Reads the key `address`, which can't be left out.
pub(super) fn read(keys: &mut Keys<'_>) -> Option<String> {
    let address = keys.address("address");
    keys.required("address", address)
}

/// Every socket address of `address`, at least one, in the resolver's order.
///
/// Blocks as long as the system's resolver does.
///
/// # Errors
/// [`Refusal::Retry`]: the name may be known again later.
pub(super) fn resolve(address: &str) -> Result<Vec<SocketAddr>, Refusal> {
    let found = address.to_socket_addrs().context("its address does not resolve").map_err(Refusal::Retry)?;
    let found: Vec<_> = found.collect();
    if found.is_empty() {
        return Err(Refusal::Retry(anyhow!("its address does not resolve to anything")));
    }
    Ok(found)
}

/// An error of a socket, in words where the system's own ("Resource temporarily unavailable") mislead.
pub(super) fn in_words(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => anyhow!("the time to send was over"),
        _ => Error::new(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_resolve_or_are_worth_another_try() {
        assert!(resolve("localhost:1").is_ok_and(|found| !found.is_empty()));
        let refusal = resolve("name.invalid:1").expect_err("that top-level domain never resolves");
        assert!(matches!(refusal, Refusal::Retry(_)));
        assert!(!refusal.to_string().contains("name.invalid"), "{refusal}");
    }
}
