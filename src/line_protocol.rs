//! InfluxDB's line protocol, as the kind and the destination of that name both speak it: whether an answer tells of
//! a full disk.

use memchr::memmem;

/// What a server says whose disk is full.
const FULL: &[u8] = b"no space left on device";

/// Whether the answer to a write says that the server's disk is full: that is no fault of the points, which are to be
/// sent again. Where a series would be new, its status is the one for points that are refused for good.
pub fn is_disk_full(answer: &[u8]) -> bool {
    memmem::find(answer, FULL).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_of_in_words() {
        #[track_caller]
        fn check(answer: &str, expect: bool) {
            assert_eq!(is_disk_full(answer.as_bytes()), expect, "{answer}");
        }
        check("{\"error\":\"partial write: write /data/wal: no space left on device dropped=100\"}", true);
        check("no space left on device", true);
        check("{\"error\":\"partial write: points beyond retention policy dropped=3\"}", false);
        check("", false);
    }
}
