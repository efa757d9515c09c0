//! What all requests of one journey have in common: a UUID of version 4.

use std::sync::{Mutex, PoisonError};

use crate::golo::DEFAULT_SEQUENCE_ID;

tokio::task_local! {
    /// The last sequence ID used in this journey; empty before the first.
    static LAST: Mutex<String>;
}

/// A new sequence ID: a random UUID, or [`DEFAULT_SEQUENCE_ID`] where the system has no entropy. So there always is
/// one.
///
/// ```
/// use canihaz::loadtest::new_sequence_id;
///
/// assert_eq!(new_sequence_id().len(), 36);
/// assert_ne!(new_sequence_id(), new_sequence_id());
/// ```
pub fn new_sequence_id() -> String {
    sequence_id(getrandom::fill)
}

/// What `journey` came to, and the last sequence ID that was used in it; empty without one.
pub(super) async fn noting<T>(journey: impl Future<Output = T>) -> (T, String) {
    let journey = async {
        let ended = journey.await;
        let last = LAST.with(|last| std::mem::take(&mut *last.lock().unwrap_or_else(PoisonError::into_inner)));
        (ended, last)
    };
    LAST.scope(Mutex::default(), journey).await
}

/// Notes that a journey's request has this sequence ID; outside of a journey it is nobody's.
pub(super) fn note(sequence_id: &str) {
    let _ = LAST.try_with(|last| sequence_id.clone_into(&mut last.lock().unwrap_or_else(PoisonError::into_inner)));
}

fn sequence_id<E>(fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> String {
    let mut bytes = [0; 16];
    if fill(&mut bytes).is_err() {
        return String::from(DEFAULT_SEQUENCE_ID);
    }
    let mut number = u128::from_be_bytes(bytes);
    // RFC 9562: the version, and the variant.
    number = number & !(0xf << 76) | 0x4 << 76;
    number = number & !(0b11 << 62) | 0b10 << 62;
    let hex = format!("{number:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_id_is_a_uuid_of_version_4() {
        #[track_caller]
        fn check(byte: u8, expect: &str) {
            let fill = |bytes: &mut [u8]| -> Result<(), ()> {
                bytes.fill(byte);
                Ok(())
            };
            assert_eq!(sequence_id(fill), expect);
        }
        check(0x00, "00000000-0000-4000-8000-000000000000");
        check(0x11, "11111111-1111-4111-9111-111111111111");
        check(0xff, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn without_entropy_it_is_the_default() {
        assert_eq!(sequence_id(|_| Err("none")), DEFAULT_SEQUENCE_ID);
        let half = |bytes: &mut [u8]| {
            bytes[0] = 1;
            Err("no more")
        };
        assert_eq!(sequence_id(half), DEFAULT_SEQUENCE_ID);
    }

    #[tokio::test]
    async fn a_journey_has_the_last_one_that_was_used() {
        let (ended, last) = noting(async {
            note("a");
            tokio::task::yield_now().await;
            note("b");
            "done"
        })
        .await;
        assert_eq!((ended, last.as_str()), ("done", "b"));
        assert_eq!(noting(async {}).await.1, "");
        note("nobody's");
    }
}
