//! What this server is called, by itself.

/// The kernel's name for it; `localhost` where that is none, or no text.
pub fn hostname() -> String {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| String::from("localhost"))
}
