//! Where a load test listens for its agent.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, bail};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// Where a load test listens when nobody tells it.
pub const RPC_ADDR: &str = "127.0.0.1:9999";

/// The environment variable by which the agent tells where to listen: `unix:/PATH` or `HOST:PORT`.
pub const RPC_ADDR_VARIABLE: &str = "CANIHAZ_RPC_ADDR";

/// Where to listen.
#[derive(Debug, PartialEq)]
pub(super) enum Address {
    /// A host and a port.
    Tcp(String),
    /// A socket in a folder.
    Unix(PathBuf),
}

/// What listens. A socket in a folder is gone with it.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(Socket),
}

/// A socket in a folder.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

/// Who has come.
#[derive(Debug)]
pub(super) enum Connection {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Address {
    /// The address that the environment variable has, or else [`RPC_ADDR`].
    ///
    /// # Errors
    /// It has something else.
    pub fn of(variable: Option<&OsStr>) -> Result<Self, Error> {
        let Some(value) = variable else { return Ok(Self::Tcp(RPC_ADDR.into())) };
        Self::parse(value).with_context(|| {
            format!("{RPC_ADDR_VARIABLE} can't be {value:?}: unix:/PATH, or HOST:PORT with a port from 1")
        })
    }

    fn parse(value: &OsStr) -> Option<Self> {
        if let Some(path) = value.as_bytes().strip_prefix(b"unix:") {
            // gRPC's names have unix:///path, too.
            let path = path.strip_prefix(b"//").unwrap_or(path);
            return path.starts_with(b"/").then(|| Self::Unix(Path::new(OsStr::from_bytes(path)).to_owned()));
        }
        let value = value.to_str()?;
        let (host, port) = value.rsplit_once(':')?;
        let is_port = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
        (is_port && !host.is_empty()).then(|| Self::Tcp(value.to_owned()))
    }

    /// Listens there.
    ///
    /// # Errors
    /// Somebody else does, or it is no place to listen.
    pub async fn listen(&self) -> Result<Listener, Error> {
        Ok(match self {
            Self::Tcp(address) => Listener::Tcp(TcpListener::bind(address).await.map_err(|error| told(self, error))?),
            Self::Unix(path) => Listener::Unix(Socket { listener: bind(path)?, path: path.clone() }),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Listener {
    /// Waits for the next one to come.
    pub async fn accept(&self) -> io::Result<Connection> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Without it answers only get slower.
                let _ = stream.set_nodelay(true);
                Connection::Tcp(stream)
            }
            Self::Unix(socket) => Connection::Unix(socket.listener.accept().await?.0),
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Gone already, or not ours to remove any more: then it stays.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Binds a socket at `path`, in place of one that a dead process has left.
fn bind(path: &Path) -> Result<UnixListener, Error> {
    let address = || Address::Unix(path.to_owned());
    match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => (),
        bound => return bound.map_err(|error| told(&address(), error)),
    }
    let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    if !is_socket {
        bail!("cannot listen on {}: there is a file, and not a socket", address());
    }
    match StdUnixStream::connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).with_context(|| format!("cannot remove the old socket {}", path.display()))?;
            UnixListener::bind(path).map_err(|error| told(&address(), error))
        }
        // It may be full, or another user's: somebody's, in any case.
        _ => Err(told(&address(), ErrorKind::AddrInUse.into())),
    }
}

fn told(address: &Address, error: io::Error) -> Error {
    let what = match error.kind() {
        ErrorKind::AddrInUse => format!("cannot listen on {address}: somebody else listens there"),
        _ => format!("cannot listen on {address}"),
    };
    Error::new(error).context(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_environments_or_the_default() {
        #[track_caller]
        fn check(value: Option<&str>, expect: &str) {
            assert_eq!(Address::of(value.map(OsStr::new)).unwrap().to_string(), expect);
        }
        check(None, RPC_ADDR);
        check(Some("127.0.0.1:1"), "127.0.0.1:1");
        check(Some("localhost:65535"), "localhost:65535");
        check(Some("[::1]:80"), "[::1]:80");
        check(Some("unix:/run/x/socket"), "unix:/run/x/socket");
        check(Some("unix:///run/x/socket"), "unix:/run/x/socket");
        let odd = OsStr::from_bytes(b"unix:/\xff");
        assert_eq!(Address::of(Some(odd)).unwrap(), Address::Unix(PathBuf::from(OsStr::from_bytes(b"/\xff"))));
    }

    #[test]
    fn a_malformed_address_is_told() {
        #[track_caller]
        fn check(value: &str) {
            let error = Address::of(Some(OsStr::new(value))).unwrap_err().to_string();
            let expect = format!("CANIHAZ_RPC_ADDR can't be {value:?}: unix:/PATH, or HOST:PORT with a port from 1");
            assert_eq!(error, expect);
        }
        check("");
        check("localhost");
        check(":80");
        check("localhost:");
        check("localhost:0");
        check("localhost:+1");
        check("localhost:65536");
        check("unix:");
        check("unix:relative");
        check("unix://host/path");
        check("/run/x/socket");
    }

    #[tokio::test]
    async fn a_socket_that_nobody_listens_on_is_replaced_and_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let address = Address::Unix(path.clone());
        let error = async || format!("{:#}", address.listen().await.unwrap_err());

        let listening = address.listen().await.unwrap();
        let expect = format!("cannot listen on unix:{}: somebody else listens there: ", path.display());
        assert!(error().await.starts_with(&expect), "{}", error().await);
        drop(listening);
        assert!(!path.exists(), "it is gone with its listener");

        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "a dead process leaves it");
        drop(address.listen().await.unwrap());

        std::fs::write(&path, "precious").unwrap();
        let expect = format!("cannot listen on unix:{}: there is a file, and not a socket", path.display());
        assert_eq!(error().await, expect);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");

        let nowhere = Address::Unix(folder.path().join("none/socket"));
        let error = format!("{:#}", nowhere.listen().await.unwrap_err());
        assert!(error.contains("No such file or directory"), "{error}");
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_told() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap().to_string();
        let error = format!("{:#}", Address::Tcp(address.clone()).listen().await.unwrap_err());
        assert_eq!(
            error,
            format!("cannot listen on {address}: somebody else listens there: Address already in use (os error 98)")
        );
    }
}
