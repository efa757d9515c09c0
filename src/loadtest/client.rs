//! The HTTP client that all journeys share, which can be replaced.

use std::sync::{PoisonError, RwLock};

use reqwest::{Client, ClientBuilder};

use crate::AGENT;

/// `None` until somebody asks for one, or sets one.
static CLIENT: RwLock<Option<Client>> = RwLock::new(None);

/// What [`do_request`](super::do_request) asks by, and what makes requests for it. Clones are cheap and share their
/// connections.
///
/// Unless [another was set](set_client) it is what [`client_builder`] builds. On a system without trusted root
/// certificates it trusts nobody: `http` works, and `https` fails.
///
/// ```
/// # fn main() -> Result<(), reqwest::Error> {
/// use canihaz::loadtest::client;
///
/// let search = client().get("http://localhost:8080/search").query(&[("q", "cats")]).build()?;
/// assert_eq!(search.url().as_str(), "http://localhost:8080/search?q=cats");
/// let login = client().post("http://localhost:8080/login").form(&[("user", "joe")]).build()?;
/// # Ok(())
/// # }
/// ```
pub fn client() -> Client {
    if let Some(client) = &*CLIENT.read().unwrap_or_else(PoisonError::into_inner) {
        return client.clone();
    }
    let mut client = CLIENT.write().unwrap_or_else(PoisonError::into_inner);
    client.get_or_insert_with(build).clone()
}

/// Replaces the client for all requests that begin from now on: for authorization, or another way to speak TLS.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use canihaz::loadtest::{client_builder, reqwest, set_client};
/// use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
///
/// let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str("Bearer lolcats")?)]);
/// set_client(client_builder().default_headers(headers).build()?);
/// # Ok(())
/// # }
/// ```
pub fn set_client(client: Client) {
    *CLIENT.write().unwrap_or_else(PoisonError::into_inner) = Some(client);
}

/// How the default client is built, to be changed: HTTP/1.1, kept connections, at most ten redirects, no cookies, no
/// proxy, no time-out (the agent gives up on a journey when its type's `timeout` is over), TLS by rustls with ring, the
/// system's trusted root certificates.
///
/// `pool_max_idle_per_host(0)` makes a new connection for each request, as go-lo did;
/// `redirect(Policy::none())` gives back redirects as answers. This build of reqwest
/// brings no cryptography, so a client that is built in another way needs some to
/// be installed first; this does so, where nobody has.
pub fn client_builder() -> ClientBuilder {
    // Fails when there is one: that will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().user_agent(AGENT).no_proxy()
}

fn build() -> Client {
    let build = client_builder().build();
    build.unwrap_or_else(|_| {
        let trusts_nobody = client_builder().tls_certs_only([]);
        trusts_nobody.build().expect("what is left is ring, which is compiled in")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_trusts_nobody_can_be_built() {
        client_builder().tls_certs_only([]).build().unwrap();
    }
}
