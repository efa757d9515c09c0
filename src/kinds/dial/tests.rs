//! The way to servers of the tests' own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream as Client};
use std::os::unix::net::UnixListener;
use std::sync::mpsc;
use std::thread;

use nix::sys::socket::{Backlog, listen};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::settings::Place;
use super::*;

const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(30);

/// Leads to `peer`, and to the first address first.
fn dialer(peer: &Peer<'_>, settings: &Settings) -> Dialer {
    let dialer = Dialer::new(peer, settings, LONG, Sharing::default()).unwrap();
    dialer.turn.set(0);
    dialer
}

fn to(address: SocketAddr) -> Peer<'static> {
    Peer { host: Host::Address(address.ip()), port: address.port(), tls: None }
}

/// A name for `127.0.0.1`, over TLS.
fn tls_to(address: SocketAddr) -> (Peer<'static>, Settings) {
    let peer = Peer { host: Host::Name("localhost".into()), port: address.port(), tls: Some(&[b"http/1.1"]) };
    (peer, Settings { way: Way::Addresses([Place { address, any_port: false }].into()), ..Settings::default() })
}

async fn dial(dialer: &Dialer) -> (Result<Stream, Failure>, Tally) {
    let tally = Tally::default();
    (dialer.dial(&Rc::default(), &tally).await, tally)
}

/// The names of these addresses, found after so long.
fn named(addresses: &[SocketAddr], after: Duration) -> Hop {
    let addresses = addresses.to_vec();
    let look_up = move |_: &str, _| {
        thread::sleep(after);
        Ok(addresses.clone())
    };
    Hop::Named(Names::with("host", 80, LONG, Arc::new(look_up)))
}

/// Gives every connection to `serve`, one after the other, as long as the tests run.
fn server(serve: impl Fn(Client) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || listener.incoming().for_each(|stream| serve(stream.unwrap())));
    address
}

fn wait_for_end(mut stream: impl Read) {
    while !matches!(stream.read(&mut [0; 1024]), Ok(0) | Err(_)) {}
}

/// Says nothing, and doesn't let anybody through who isn't through.
fn full() -> (SocketAddr, TcpListener, Vec<Client>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let connect = |_| Client::connect_timeout(&address, Duration::from_millis(200)).ok();
    let waiting = (0..4).filter_map(connect).collect();
    (address, listener, waiting)
}

#[tokio::test]
async fn addresses_are_used_in_turn_and_dead_ones_passed_over() {
    let listen = |at: &str| TcpListener::bind(at).unwrap();
    let (one, two, dead) = (listen("127.0.0.1:0"), listen("[::1]:0"), listen("127.0.0.1:0").local_addr().unwrap());
    let [one, two] = [&one, &two].map(|listener| listener.local_addr().unwrap());
    let check = async |addresses: &[SocketAddr], expect: &[SocketAddr]| {
        let (dialer, tally) = (dialer(&to(dead), &Settings::default()), Tally::default());
        for expect in expect {
            let opened = dialer.open(addresses, Instant::now(), &tally).await.unwrap();
            let Connected::Tcp(stream) = opened else { panic!("{opened:?}") };
            assert_eq!(stream.peer_addr().unwrap(), *expect, "{addresses:?}");
        }
    };
    check(&[one], &[one, one]).await;
    check(&[one, two], &[one, two, one, two]).await;
    check(&[one, dead], &[one, one, one]).await;
    check(&[one, dead, two], &[one, two, two, one]).await;
    let nowhere = Dialer { hop: named(&[dead, dead], Duration::ZERO), ..dialer(&to(dead), &Settings::default()) };
    assert_eq!(dial(&nowhere).await.0.unwrap_err().reason, Reason::Connect);
}

#[tokio::test]
async fn an_address_that_is_silent_leaves_the_others_their_time() {
    let (silent, _listener, _waiting) = full();
    let good = server(wait_for_end);
    for addresses in [[silent, good, silent], [silent, silent, good]] {
        let dialer = dialer(&to(good), &Settings::default());
        let timeout = Duration::from_millis(1500);
        let dialer = Dialer { timeout, hop: Hop::Addresses(addresses.into()), ..dialer };
        let begin = Instant::now();
        dial(&dialer).await.0.unwrap();
        let took = begin.elapsed();
        assert!(took >= timeout / 3 && took < timeout, "{took:?}");
    }
}

#[tokio::test]
async fn names_lead_to_what_resolve_says() {
    let address = server(wait_for_end);
    for any_port in [false, true] {
        let place =
            Place { address: SocketAddr::new(address.ip(), if any_port { 0 } else { address.port() }), any_port };
        let settings = Settings { way: Way::Addresses([place].into()), ..Settings::default() };
        let port = if any_port { address.port() } else { 1 };
        let peer = Peer { host: Host::Name("nowhere.invalid".into()), port, tls: None };
        let (opened, tally) = dial(&dialer(&peer, &settings)).await;
        opened.unwrap();
        assert_eq!(tally.phases().unwrap().dns, None);
    }
}

#[tokio::test]
async fn a_connection_with_itself_is_seen() {
    let bound = |own: SocketAddr| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(own).unwrap();
        socket
    };
    let socket = bound(SocketAddr::from(([127, 0, 0, 1], 0)));
    let address = socket.local_addr().unwrap();
    assert!(is_with_itself(&socket.connect(address).await.unwrap(), address.port()).unwrap());
    // The same port of another address is somebody's.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let socket = bound(SocketAddr::from(([127, 0, 0, 2], address.port())));
    assert!(!is_with_itself(&socket.connect(address).await.unwrap(), address.port()).unwrap());
}

#[tokio::test]
async fn a_unix_socket_is_as_good_as_an_address() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.sock");
    let settings = |path: &Path| Settings { way: Way::Socket(path.into()), ..Settings::default() };
    let to_path = |path: &Path| dialer(&to(SocketAddr::from(([127, 0, 0, 1], 80))), &settings(path));
    assert_eq!(dial(&to_path(&path)).await.0.unwrap_err().reason, Reason::Connect);

    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for size in [5, 100_000] {
            let mut bytes = vec![0; size];
            stream.read_exact(&mut bytes).unwrap();
            stream.write_all(&bytes).unwrap();
        }
    });
    let (dialer, tally, traffic) = (to_path(&path), Tally::default(), Rc::default());
    let mut stream = dialer.dial(&traffic, &tally).await.unwrap();
    for size in [5, 100_000] {
        let _metered = tally.meter(&traffic);
        let mut back = vec![0; size];
        let (mut reader, mut writer) = tokio::io::split(&mut stream);
        let sent = vec![7; size];
        let (written, read) = tokio::join!(writer.write_all(&sent), reader.read_exact(&mut back));
        written.and(read).unwrap();
        assert_eq!(back, sent);
    }
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    assert_eq!((tally.sent(), tally.received()), (100_005, 100_005));
    let phases = tally.phases().unwrap();
    assert!(phases.connect.is_some() && phases.dns.is_none() && phases.tls.is_none(), "{phases:?}");
}

#[tokio::test]
async fn a_phase_takes_as_long_as_it_takes() {
    let authority = Authority::new();
    let config = authority.server("localhost", 3000);
    let address = server(move |stream| {
        // The client's first bytes are here: what follows is of its handshake, however late it was told of the
        // connection.
        stream.peek(&mut [0]).unwrap();
        thread::sleep(SHORT);
        shake_hands(&config, stream);
    });
    let (peer, settings) = tls_to(address);
    let settings = Settings { authorities: Some(authority.trusted()), ..settings };
    let dialer = Dialer { hop: named(&[address], SHORT), ..dialer(&peer, &settings) };
    for looks_up in [true, false] {
        let (opened, tally) = dial(&dialer).await;
        opened.unwrap();
        let phases = tally.phases().unwrap();
        assert_eq!(phases.dns.is_some(), looks_up, "addresses that are known took no time: {phases:?}");
        assert!(phases.dns.is_none_or(|dns| dns >= SHORT), "{phases:?}");
        assert!(phases.connect.is_some() && phases.tls.is_some_and(|tls| tls >= SHORT), "{phases:?}");
        assert_eq!(phases.first_byte, None);
    }
}

#[tokio::test]
async fn of_a_connection_that_fails_the_phases_that_ended_are_kept() {
    let check = async |dialer: &Dialer, reason, expect: [bool; 3]| {
        let (opened, tally) = dial(dialer).await;
        assert_eq!(opened.unwrap_err().reason, reason);
        let phases = tally.phases().map_or(Phases::default(), |phases| *phases);
        assert_eq!([phases.dns, phases.connect, phases.tls].map(|phase| phase.is_some()), expect, "{phases:?}");
    };
    let plain = server(|mut stream| _ = stream.write_all(b"220 mail\r\n").map(|()| wait_for_end(stream)));
    let (peer, settings) = tls_to(plain);
    let settings = Settings { insecure: true, ..settings };
    let nowhere = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let via = |hop| Dialer { hop, ..dialer(&peer, &settings) };
    let unknown = Names::with("host", 80, LONG, Arc::new(|_, _| Err(io::Error::other("unknown"))));
    check(&via(Hop::Named(unknown)), Reason::Dns, [false; 3]).await;
    check(&via(named(&[nowhere], Duration::ZERO)), Reason::Connect, [true, false, false]).await;
    check(&via(named(&[plain], Duration::ZERO)), Reason::Tls, [true, true, false]).await;
    check(&via(Hop::Addresses([plain].into())), Reason::Tls, [false, true, false]).await;
}

#[tokio::test]
async fn a_timeout_says_what_it_came_in() {
    let check = async |dialer: Dialer, expect: &str| {
        let dialer = Dialer { timeout: SHORT, is_bounded: true, ..dialer };
        let (opened, _) = dial(&dialer).await;
        let failure = opened.unwrap_err();
        assert_eq!(failure.reason, Reason::Timeout, "{failure}");
        assert!(failure.detail.contains(expect), "{failure}");
    };
    let silent = server(wait_for_end);
    let (peer, settings) = tls_to(silent);
    let settings = Settings { insecure: true, ..settings };
    let (tell, told) = mpsc::channel::<()>();
    let told = std::sync::Mutex::new(told);
    let look_up = move |_: &str, _| Err(io::Error::other(told.lock().unwrap().recv().unwrap_err()));
    let hanging = Hop::Named(Names::with("host", 80, LONG, Arc::new(look_up)));
    check(Dialer { hop: hanging, ..dialer(&peer, &settings) }, "while looking up the name").await;
    drop(tell);

    let (full, _listener, _waiting) = full();
    let connecting = dialer(&to(full), &Settings::default());
    check(connecting, &format!("{full}")).await;
    check(dialer(&peer, &settings), "in the TLS handshake").await;

    let proxy = Proxy { host: Host::Address(silent.ip()), port: silent.port(), authorization: None };
    let through = Settings { way: Way::Proxy(Arc::new(proxy)), ..settings };
    check(dialer(&peer, &through), "waiting for the proxy").await;
}

#[test]
fn a_connection_has_no_more_time_than_its_hit() {
    let check = |connect_timeout, timeout, expect| {
        let settings = Settings { connect_timeout, ..Settings::default() };
        let dialer = Dialer::new(&to(SocketAddr::from(([127, 0, 0, 1], 1))), &settings, timeout, Sharing::default());
        let dialer = dialer.unwrap();
        assert_eq!((dialer.timeout, dialer.is_bounded), expect);
    };
    check(None, LONG, (LONG, false));
    check(Some(SHORT), LONG, (SHORT, true));
    check(Some(LONG), SHORT, (SHORT, false));
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_is_said_so_that_a_person_understands() {
    let (authority, stranger, namesake) = (Authority::new(), Authority::called("they"), Authority::new());
    let trusting = |authority: &Authority| Settings { authorities: Some(authority.trusted()), ..Settings::default() };
    let check = async |config: Arc<ServerConfig>, settings: Settings, expect: Result<(), &str>| {
        let address = server(move |stream| shake_hands(&config, stream));
        let (peer, way) = tls_to(address);
        let (opened, _) = dial(&dialer(&peer, &Settings { way: way.way, ..settings })).await;
        match (opened, expect) {
            (Ok(_), Ok(())) => {}
            (Err(failure), Err(expect)) => {
                assert_eq!(failure.reason, Reason::Tls, "{failure}");
                assert!(failure.detail.contains(expect), "{failure}");
            }
            (opened, expect) => panic!("{opened:?} where {expect:?} was expected"),
        }
    };
    let good = authority.server("localhost", 3000);
    check(Arc::clone(&good), trusting(&authority), Ok(())).await;
    check(Arc::clone(&good), trusting(&stranger), Err("from an authority that is not trusted")).await;
    check(Arc::clone(&good), trusting(&namesake), Err("not the trusted one of that name")).await;
    check(authority.server("localhost", 2020), trusting(&authority), Err("has expired")).await;
    check(authority.server("example.com", 3000), trusting(&authority), Err("bears another name")).await;
    check(self_signed(false), trusting(&authority), Err("signed by itself")).await;
    check(self_signed(true), trusting(&authority), Err("signed by itself")).await;

    let name = |name: &str| Some(ServerName::try_from(name.to_owned()).unwrap());
    let called = |server_name| Settings { server_name, ..trusting(&authority) };
    check(authority.server("example.com", 3000), called(name("example.com")), Ok(())).await;
    check(Arc::clone(&good), called(name("example.com")), Err("bears another name")).await;

    let insecure = || Settings { insecure: true, ..Settings::default() };
    for config in [good, authority.server("example.com", 2020), self_signed(false), self_signed(true)] {
        check(config, insecure(), Ok(())).await;
    }

    let mut other = ServerConfig::clone(&authority.server("localhost", 3000));
    other.alpn_protocols = vec![b"gopher".to_vec()];
    check(Arc::new(other), trusting(&authority), Err("none of the protocols offered")).await;
}

#[tokio::test]
async fn who_has_not_its_certificates_key_is_refused_by_the_insecure_too() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (certificate, _) = authority.certify("localhost", 3000);
    let (_, key) = other.certify("localhost", 3000);
    let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    let stolen = Arc::new(rustls::sign::CertifiedKey::new(vec![certificate], key));
    let config = server_config().with_no_client_auth();
    let config = Arc::new(config.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from((*stolen).clone()))));
    let (peer, settings) = tls_to(server(move |stream| shake_hands(&config, stream)));
    let (opened, _) = dial(&dialer(&peer, &Settings { insecure: true, ..settings })).await;
    assert_eq!(opened.unwrap_err().reason, Reason::Tls);
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_who_asks() {
    let authority = Authority::new();
    let (certificate, key) = authority.certify("localhost", 3000);
    let asking = WebPkiClientVerifier::builder_with_provider(authority.trusted().roots(), ring()).build().unwrap();
    let config = server_config().with_client_cert_verifier(asking).with_single_cert(vec![certificate], key).unwrap();
    let config = Arc::new(config);
    let address = server(move |stream| shake_hands(&config, stream));
    let (peer, settings) = tls_to(address);
    let settings = Settings { authorities: Some(authority.trusted()), ..settings };
    // The server's refusal comes in the place of an answer.
    let answer = async |settings: &Settings| {
        let mut stream = dial(&dialer(&peer, settings)).await.0.unwrap();
        stream.read_u8().await.map_err(|error| detail(&error))
    };
    assert_eq!(answer(&settings).await, Err(String::from("the server wants a client certificate")));
    let show = |authority: &Authority| {
        let (certificate, key) = authority.certify("client", 3000);
        Settings {
            identity: Some(Arc::new(tls::Identity { certificates: vec![certificate], key })),
            ..settings.clone()
        }
    };
    assert_eq!(answer(&show(&authority)).await, Ok(b'!'));
    let refused = answer(&show(&Authority::called("they"))).await.unwrap_err();
    assert!(refused.contains("refuses our certificate"), "{refused}");
}

#[tokio::test]
async fn a_server_is_told_the_name_that_it_has_to_bear() {
    let authority = Authority::new();
    let config = authority.server("localhost", 3000);
    let (tell, told) = mpsc::channel();
    let address = server(move |mut stream| {
        let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        let _ = connection.complete_io(&mut stream);
        tell.send(connection.server_name().map(str::to_owned)).unwrap();
    });
    let (peer, settings) = tls_to(address);
    let settings = Settings { insecure: true, ..settings };
    for (server_name, expect) in
        [(None, Some("localhost")), (Some("example.com"), Some("example.com")), (Some("::1"), None)]
    {
        let server_name = server_name.map(|name| ServerName::try_from(name).unwrap());
        dial(&dialer(&peer, &Settings { server_name, ..settings.clone() })).await.0.unwrap();
        assert_eq!(told.recv().unwrap().as_deref(), expect);
    }
}

#[tokio::test]
async fn the_protocol_that_was_agreed_on_is_told() {
    let authority = Authority::new();
    let mut config = ServerConfig::clone(&authority.server("localhost", 3000));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let address = server(move |stream| shake_hands(&config, stream));
    let check = async |tls: Option<&[&[u8]]>, expect: Option<&[u8]>| {
        let (peer, settings) = tls_to(address);
        let settings = Settings { authorities: Some(authority.trusted()), ..settings };
        let stream = dial(&dialer(&Peer { tls, ..peer }, &settings)).await.0.unwrap();
        assert_eq!(stream.alpn(), expect);
    };
    check(Some(&[b"h2", b"http/1.1"]), Some(b"h2")).await;
    check(Some(&[b"http/1.1"]), Some(b"http/1.1")).await;
    check(Some(&[]), None).await;
    check(None, None).await;
}

#[test]
fn who_says_the_same_of_tls_shares_it() {
    let (authority, other) = (Authority::new(), Authority::new());
    let settings = |authority: &Authority| Settings { authorities: Some(authority.trusted()), ..Settings::default() };
    let config = |settings: &Settings, alpn: &[&[u8]]| tls::config(settings, alpn).unwrap();
    let first = config(&settings(&authority), &[b"http/1.1"]);
    assert!(Arc::ptr_eq(&first, &config(&settings(&authority), &[b"http/1.1"])));
    let dns_ttl = Settings { dns_ttl: LONG, ..settings(&authority) };
    assert!(Arc::ptr_eq(&first, &config(&dns_ttl, &[b"http/1.1"])));
    assert!(!Arc::ptr_eq(&first, &config(&settings(&other), &[b"http/1.1"])));
    assert!(!Arc::ptr_eq(&first, &config(&settings(&authority), &[b"h2"])));
    let insecure = Settings { insecure: true, ..settings(&authority) };
    assert!(!Arc::ptr_eq(&first, &config(&insecure, &[b"http/1.1"])));
}

/// An authority that nobody trusts who isn't told to.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        Self::called("we")
    }

    fn called(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn trusted(&self) -> tls::Authorities {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots.into()
    }

    /// A certificate for `name` that holds until the year `until`.
    fn certify(&self, name: &str, until: i32) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.0).unwrap().der().clone(), key.into())
    }

    fn server(&self, name: &str, until: i32) -> Arc<ServerConfig> {
        let (certificate, key) = self.certify(name, until);
        Arc::new(server_config().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap())
    }
}

/// A server of `localhost` that nobody but itself knows, as an authority or as what it is.
fn self_signed(as_authority: bool) -> Arc<ServerConfig> {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    if as_authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    Arc::new(server_config().with_no_client_auth().with_single_cert(vec![certificate], key.into()).unwrap())
}

fn ring() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn server_config() -> rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(ring()).with_safe_default_protocol_versions().unwrap()
}

/// Agrees on TLS, says `!`, and waits for the end.
fn shake_hands(config: &Arc<ServerConfig>, mut stream: Client) {
    let mut connection = ServerConnection::new(Arc::clone(config)).unwrap();
    let mut tls = rustls::Stream::new(&mut connection, &mut stream);
    // Who doesn't like us ends it.
    let _ = tls.write_all(b"!");
    wait_for_end(tls);
}
