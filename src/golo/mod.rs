//! What a load test and its agent say to each other: a call a journey, as go-lo's second version has it, and lines of
//! its first on the load test's standard output, an [`Output`] a request.
//!
//! `job.proto` is the agreement; `generated.rs` is made of it, and kept, so
//! that nobody needs a compiler for it to build canihaz.

#[expect(missing_docs, reason = "job.proto tells it")]
#[expect(unused_qualifications, reason = "it is generated")]
#[rustfmt::skip]
mod generated;
pub(crate) mod output;

pub use generated::{Context, Response, ResponseTag, job_client, job_server};
pub use output::Output;

/// The sequence ID where the system has no entropy for one: it says nothing of what belongs together. It is a UUID of
/// version 5, and so none that is made at random.
pub const DEFAULT_SEQUENCE_ID: &str = "c276c8c7-6fec-5aa9-b6bd-4de12a49a9bb";

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// Set, the test writes what it else compares with.
    const REGENERATE: &str = "CANIHAZ_REGENERATE";

    #[test]
    fn what_is_generated_is_fresh() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/golo");
        let fresh = tempfile::tempdir().unwrap();
        let files = protox::compile(["job.proto"], [&folder]).unwrap();
        tonic_prost_build::configure().build_transport(false).out_dir(fresh.path()).compile_fds(files).unwrap();
        let fresh = fs::read_to_string(fresh.path().join("golo.rs")).unwrap();
        let kept = folder.join("generated.rs");
        if std::env::var_os(REGENERATE).is_some() {
            fs::write(&kept, &fresh).unwrap();
        }
        assert!(fs::read_to_string(kept).unwrap() == fresh, "run: {REGENERATE}=1 cargo test --lib golo");
    }
}
