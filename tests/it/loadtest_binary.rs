//! Where a load test's program comes from: HTTPS servers of all sorts, what is kept of them, and what is executed.

mod server;

use std::fs;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use canihaz::keys::Source;
use canihaz::kinds::loadtest::{Binary, Executable, PublicKey, get};
use tempfile::TempDir;

use self::server::{Reply, Then, Web};
use crate::parts::certificates::Authority;
use crate::parts::deadline::{eventually, seconds, within};
use crate::parts::nginx::Nginx;

/// A program, a script: what it says, and its SHA-256.
const PROGRAM: &[u8] = include_bytes!("../data/minisign/program");
const SAYS: &str = "from a sealed file\n";
const SHA256: &str = "cfdf40216ea97142c5928261ae51ffb940e6801fa7d94e820b1c73530a0c7918";
const OURS: &str = include_str!("../data/minisign/ours.pub");
const THEIRS: &str = include_str!("../data/minisign/theirs.pub");
const BY_US: &[u8] = include_bytes!("../data/minisign/ours.minisig");
const BY_THEM: &[u8] = include_bytes!("../data/minisign/theirs.minisig");
/// How long anything may take that has no reason to.
const SOON: f64 = 30.0;

/// A server of programs, and the state folder of who asks it.
struct Lab {
    authority: Authority,
    web: Web,
    state: TempDir,
}

impl Lab {
    /// With a server that answers so.
    fn new(reply: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let authority = Authority::new();
        let web = Web::start(&authority.certify("127.0.0.1", 2100), reply);
        Self { authority, web, state: tempfile::tempdir().unwrap() }
    }

    /// The type's program, at `path` of the server.
    fn binary(&self, path: &str, more: &str) -> Binary {
        binary(&self.web.url(path), &self.authority.file(), more)
    }

    fn get(&self, path: &str) -> Result<Executable, String> {
        self.get_signed(path, None)
    }

    fn get_signed(&self, path: &str, key: Option<&PublicKey>) -> Result<Executable, String> {
        get_by(&self.binary(path, ""), self.state.path(), key, Instant::now() + seconds(SOON))
    }

    /// Expects that nothing runs, and why.
    #[track_caller]
    fn refuses(&self, path: &str, expect: &str) {
        let error = self.get(path).unwrap_err();
        // What stands behind a ? may be a secret.
        let begin = format!("{} is not executed: ", self.web.url(path.split('?').next().unwrap()));
        assert!(error.starts_with(&begin) && error.contains(expect), "{error}");
        assert_eq!(self.kept(), [format!("{SHA256}.failed")]);
    }

    /// What there is in the folder of programs.
    fn kept(&self) -> Vec<String> {
        let entries = fs::read_dir(self.state.path().join("binaries")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The file that the program is kept as.
    fn program(&self) -> PathBuf {
        self.state.path().join("binaries").join(SHA256)
    }

    /// Forgets what couldn't be fetched.
    fn forget(&self) {
        let _ = fs::remove_file(self.state.path().join(format!("binaries/{SHA256}.failed")));
    }
}

fn binary(url: &str, ca_file: &Path, more: &str) -> Binary {
    let text = format!("binary = \"{url}\"\nsha256 = \"{SHA256}\"\nca_file = \"{}\"\n{more}", ca_file.display());
    let source = Source { file: Path::new("/etc/x.toml"), text: &text, quotes_values: false, now: "", now_unknown: "" };
    let (binary, faults) = source.read(Binary::read);
    binary.flatten().unwrap_or_else(|| panic!("{text}: {faults:?}"))
}

fn get_by(binary: &Binary, state: &Path, key: Option<&PublicKey>, until: Instant) -> Result<Executable, String> {
    get(binary, state, key, until, &|| false).map_err(|error| format!("{error:#}"))
}

fn key(text: &str) -> PublicKey {
    PublicKey::parse(text.trim_end()).unwrap()
}

/// Expects the program, and that it is executed from memory.
#[track_caller]
fn expect_program(got: Result<Executable, String>) {
    let Ok(Executable::Sealed(fd, _)) = got else { panic!("{got:?}") };
    let run = Command::new(format!("/proc/{}/fd/{}", std::process::id(), fd.as_raw_fd())).output().unwrap();
    assert_eq!(String::from_utf8(run.stdout).unwrap(), SAYS);
}

#[test]
fn a_program_is_fetched_once_and_then_nobody_is_asked() {
    let lab = Lab::new(|_| Reply::ok(PROGRAM));
    expect_program(lab.get("/program"));
    assert_eq!(lab.kept(), [SHA256]);
    expect_program(lab.get("/program"));
    expect_program(lab.get("/elsewhere"));
    assert_eq!(lab.web.asked(), ["/program"]);
    // The server goes, and it doesn't matter.
    let Lab { authority, web, state } = lab;
    let binary = binary(&web.url("/program"), &authority.file(), "");
    drop(web);
    expect_program(get_by(&binary, state.path(), None, Instant::now() + seconds(SOON)));
}

#[test]
fn a_program_comes_from_nginx_by_its_redirects() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/minisign");
    let copy = tempfile::tempdir().unwrap();
    fs::copy(data.join("program"), copy.path().join("program")).unwrap();
    let nginx = Nginx::with_tls_and(
        &format!(
            "location = /moved {{ return 302 https://$http_host/program; }}
             location = /program {{ alias {}/program; }}",
            copy.path().display()
        ),
        None,
    );
    let state = tempfile::tempdir().unwrap();
    let binary = binary(&nginx.tls_url("/moved?token=secret"), &nginx.certificate(), "");
    for _ in 0..3 {
        expect_program(get_by(&binary, state.path(), None, Instant::now() + seconds(SOON)));
    }
    let asked: Vec<_> = nginx.hits().into_iter().map(|hit| hit.uri).collect();
    assert_eq!(asked, ["/moved?token=secret", "/program"]);
}

#[test]
fn it_is_https_through_every_redirect_and_ten_at_most() {
    let clear = TcpListener::bind("127.0.0.1:0").unwrap();
    clear.set_nonblocking(true).unwrap();
    let port = clear.local_addr().unwrap().port();
    let lab = Lab::new(move |path| match path.trim_start_matches('/') {
        "clear" => Reply::redirect(&format!("http://127.0.0.1:{port}/program")),
        "0" => Reply::ok(PROGRAM),
        "endless" => Reply::redirect("/endless"),
        number => Reply::redirect(&format!("/{}", number.parse::<u32>().unwrap() - 1)),
    });
    lab.refuses("/clear", "redirected to what is no https URL");
    assert!(clear.accept().is_err(), "nobody was asked in the clear");
    lab.refuses("/endless", "redirected more than 10 times");
    assert_eq!(lab.web.asked().len(), 1 + 11);
    lab.refuses("/11", "redirected more than 10 times");
    expect_program(lab.get("/10"));
}

#[test]
fn no_more_is_fetched_than_max_size() {
    let lab = Lab::new(|path| match path {
        "/told" => Reply::ok(&[0; 4097]),
        "/told-more" => Reply::raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n", Then::Stall),
        "/chunked" => Reply::raw(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
            Then::Repeat(b"400\r\n", 1024, b"\r\n"),
        ),
        _ => Reply::raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", Then::Repeat(b"", 1024, b"")),
    });
    for path in ["/told", "/told-more", "/chunked", "/endless"] {
        let binary = lab.binary(path, "max_size = \"4KiB\"");
        let error = get_by(&binary, lab.state.path(), None, Instant::now() + seconds(SOON)).unwrap_err();
        assert!(error.ends_with("it is larger than 4096 bytes"), "{path}: {error}");
        assert_eq!(lab.kept(), [format!("{SHA256}.failed")]);
    }
    // As much is fine as was told.
    let binary = lab.binary("/told", "max_size = 4097");
    let error = get_by(&binary, lab.state.path(), None, Instant::now() + seconds(SOON)).unwrap_err();
    assert!(error.contains("what was fetched has the SHA-256 "), "{error}");
}

#[test]
fn a_server_that_stalls_holds_nobody_up() {
    let lab = Lab::new(|path| match path {
        "/at-once" => Reply::raw(b"", Then::Stall),
        _ => Reply::raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n#!/bin/sh\n", Then::Stall),
    });
    for path in ["/at-once", "/in-the-middle"] {
        let began = Instant::now();
        let error = get_by(&lab.binary(path, ""), lab.state.path(), None, began + seconds(0.5)).unwrap_err();
        assert!(error.ends_with("it was not there in time"), "{path}: {error}");
        assert!((seconds(0.5)..seconds(5.0)).contains(&began.elapsed()), "{path}: {:?}", began.elapsed());
        lab.forget();
        // A stop ends it at once, and says nothing of the server.
        let asked = lab.web.asked().len();
        let binary = lab.binary(path, "");
        let is_stopped = AtomicBool::new(false);
        let stopped = thread::scope(|scope| {
            let getting = scope.spawn(|| {
                let until = Instant::now() + seconds(SOON);
                get(&binary, lab.state.path(), None, until, &|| is_stopped.load(Ordering::Relaxed)).map(drop)
            });
            eventually("it to be asked", seconds(SOON), || (lab.web.asked().len() > asked).then_some(()));
            is_stopped.store(true, Ordering::Relaxed);
            let began = Instant::now();
            let stopped = getting.join().unwrap();
            assert!(began.elapsed() < seconds(5.0), "{path}: {:?}", began.elapsed());
            stopped
        });
        assert_eq!(format!("{:#}", stopped.unwrap_err()).rsplit(": ").next(), Some("it was stopped"));
        assert_eq!(lab.kept(), [""; 0]);
    }
}

#[test]
fn what_is_no_whole_program_is_not_kept() {
    let lab = Lab::new(|path| match path {
        "/cut-off" => Reply::raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n#!/bin/sh\n", Then::Close),
        "/no-length" => Reply::raw(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n#!/bin/sh\n", Then::Close),
        "/empty" => Reply::raw(b"HTTP/1.1 204 No Content\r\n\r\n", Then::Close),
        "/nothing" => Reply::raw(b"", Then::Close),
        "/garbage" => Reply::raw(b"220 mail.example.com\r\n", Then::Close),
        "/leads" => Reply::redirect("/none?secret"),
        _ => Reply::raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", Then::Close),
    });
    lab.refuses("/cut-off", "127.0.0.1: the server ended the connection");
    lab.refuses("/no-length", "what was fetched has the SHA-256 ");
    lab.refuses("/empty", "answered 204 No Content");
    lab.refuses("/nothing", "127.0.0.1: connection closed before message completed");
    lab.refuses("/garbage", "127.0.0.1: invalid HTTP version parsed");
    lab.refuses("/none", "answered 404 Not Found");
    let leads_to = format!("which leads to {}, answered 404", lab.web.url("/none"));
    lab.refuses("/leads", &leads_to);
}

#[test]
fn another_program_is_neither_kept_nor_asked_for_again_at_once() {
    let lab = Lab::new(|_| Reply::ok(b"#!/bin/sh\n"));
    lab.refuses("/program", &format!(", and \"sha256\" says {SHA256}"));
    lab.refuses("/program", "it is asked for again in 5");
    assert_eq!(lab.web.asked(), ["/program"]);
    // Another URL is another matter.
    lab.refuses("/program?other", "what was fetched has the SHA-256 ");
    assert_eq!(lab.web.asked(), ["/program", "/program?other"]);
}

#[test]
fn who_is_not_trusted_is_not_asked() {
    let lab = Lab::new(|_| Reply::ok(PROGRAM));
    let stranger = Authority::new();
    let binary = binary(&lab.web.url("/program"), &stranger.file(), "");
    let error = get_by(&binary, lab.state.path(), None, Instant::now() + seconds(SOON)).unwrap_err();
    assert!(error.contains("authority that is not"), "{error}");
    assert_eq!(lab.web.asked(), [""; 0]);
}

#[test]
fn a_kept_file_that_was_tampered_with_is_fetched_again() {
    let lab = Lab::new(|_| Reply::ok(PROGRAM));
    expect_program(lab.get("/program"));
    fs::write(lab.program(), "#!/bin/sh\necho another\n").unwrap();
    expect_program(lab.get("/program"));
    assert_eq!(lab.web.asked().len(), 2);
    assert_eq!(fs::read(lab.program()).unwrap(), PROGRAM);
    fs::remove_file(lab.program()).unwrap();
    expect_program(lab.get("/program"));
    assert_eq!(lab.web.asked().len(), 3);
}

#[test]
fn two_at_once_fetch_once() {
    let released = std::sync::Arc::new(AtomicBool::new(false));
    let gate = std::sync::Arc::clone(&released);
    let lab = Lab::new(move |_| {
        eventually("the gate", seconds(SOON), || gate.load(Ordering::Relaxed).then_some(()));
        Reply::ok(PROGRAM)
    });
    thread::scope(|scope| {
        let getting: Vec<_> = (0..4).map(|_| scope.spawn(|| lab.get("/program"))).collect();
        eventually("one to ask", seconds(SOON), || (!lab.web.asked().is_empty()).then_some(()));
        let second = within(seconds(0.5), || (lab.web.asked().len() > 1).then_some(()));
        released.store(true, Ordering::Relaxed);
        assert_eq!(second, None, "only one asks");
        getting.into_iter().for_each(|getting| expect_program(getting.join().unwrap()));
    });
    assert_eq!(lab.web.asked(), ["/program"]);
    assert_eq!(lab.kept(), [SHA256]);
}

#[test]
fn who_waits_for_another_waits_no_longer_than_it_may() {
    let lab = Lab::new(|_| Reply::raw(b"", Then::Stall));
    let is_over = AtomicBool::new(false);
    let binary = lab.binary("/program", "");
    thread::scope(|scope| {
        scope.spawn(|| {
            let until = Instant::now() + seconds(SOON);
            get(&binary, lab.state.path(), None, until, &|| is_over.load(Ordering::Relaxed)).map(drop)
        });
        eventually("it to be asked", seconds(SOON), || (!lab.web.asked().is_empty()).then_some(()));
        let began = Instant::now();
        let error = get_by(&binary, lab.state.path(), None, began + Duration::from_millis(300)).unwrap_err();
        is_over.store(true, Ordering::Relaxed);
        assert!(error.ends_with("it was not there in time"), "{error}");
        assert!(began.elapsed() < seconds(5.0), "{:?}", began.elapsed());
    });
    assert_eq!(lab.web.asked().len(), 1);
}

#[test]
fn with_a_key_only_what_is_signed_with_it_runs() {
    let lab = Lab::new(|path| match path {
        "/program" | "/by-them" | "/unsigned" | "/large" | "/garbled" => Reply::ok(PROGRAM),
        "/program.minisig" => Reply::ok(BY_US),
        "/by-them.minisig" => Reply::ok(BY_THEM),
        "/large.minisig" => Reply::ok(&[b'x'; 5000]),
        "/garbled.minisig" => Reply::ok(&BY_US.iter().map(u8::to_ascii_lowercase).collect::<Vec<_>>()),
        _ => Reply::raw(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", Then::Close),
    });
    let (ours, theirs) = (key(OURS), key(THEIRS));
    let refused = |path: &str, expect: &str| {
        let error = lab.get_signed(path, Some(&ours)).unwrap_err();
        assert!(error.contains(expect), "{path}: {error}");
        // Without its signature the program isn't even asked for.
        assert_eq!(lab.web.asked().last(), Some(&format!("{path}.minisig")));
        assert_eq!(lab.kept(), [format!("{SHA256}.failed")]);
    };
    refused("/unsigned", "its signature is not there: ");
    refused("/by-them", "it is signed with another key than \"minisign_key\"");
    refused("/large", "its signature is not there: it is larger than 4096 bytes");
    refused("/garbled", "its signature is none of minisign's");

    let before = lab.web.asked().len();
    let asked = || lab.web.asked().split_off(before);
    expect_program(lab.get_signed("/program", Some(&ours)));
    expect_program(lab.get_signed("/program", Some(&ours)));
    assert_eq!(asked(), ["/program.minisig", "/program"]);
    assert_eq!(lab.kept(), [SHA256.to_owned(), format!("{SHA256}.minisig")]);

    // A kept signature that is wrong is fetched again, and it alone.
    fs::write(lab.program().with_extension("minisig"), BY_THEM).unwrap();
    expect_program(lab.get_signed("/program", Some(&ours)));
    assert_eq!(asked(), ["/program.minisig", "/program", "/program.minisig"]);

    // Another key in canihaz.toml: what is kept is worth nothing by itself.
    let error = lab.get_signed("/program", Some(&theirs)).unwrap_err();
    assert!(error.contains("it is signed with another key"), "{error}");
    let error = lab.get_signed("/program", Some(&PublicKey::OF_NOBODY)).unwrap_err();
    assert!(error.contains("can't be read"), "{error}");
    expect_program(lab.get_signed("/by-them", Some(&theirs)));
    expect_program(lab.get_signed("/by-them", None));
}

#[test]
fn a_signature_of_another_program_runs_nothing() {
    // It names the right key, and is a valid one, but of something else.
    let forged = String::from_utf8_lossy(BY_US).replace("trusted comment: canihaz's", "trusted comment: nobody's");
    let lab = Lab::new(move |path| match path {
        "/program.minisig" => Reply::ok(forged.as_bytes()),
        _ => Reply::ok(PROGRAM),
    });
    let error = lab.get_signed("/program", Some(&key(OURS))).unwrap_err();
    assert!(error.contains("its signature is not of this program"), "{error}");
    assert_eq!(lab.kept(), [SHA256.to_owned(), format!("{SHA256}.failed")]);
}
