//! What went wrong with TLS, in words.

use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error};

use super::verifier::SelfSigned;

/// The most of an error's own words, in characters: a certificate may bear a thousand names.
const MAX_WORDS: usize = 300;

/// What an error in or after a handshake means to a person.
pub fn detail(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => of_tls(error),
        None if error.kind() == ErrorKind::UnexpectedEof => String::from("the server ended the connection"),
        None => error.to_string(),
    }
}

/// Whether what failed is TLS, not what is below it.
pub fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()).is_some()
}

fn of_tls(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::NoApplicationProtocol => String::from("the server speaks none of the protocols offered"),
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } => {
            format!("the server doesn't speak TLS ({})", words(error))
        }
        Error::PeerIncompatible(_) => format!("no TLS that both sides speak ({})", words(error)),
        error => words(error),
    }
}

fn of_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::ExpiredContext { time, not_after } => {
            format!("the server's certificate has expired {} ago", days(*not_after, *time))
        }
        CertificateError::NotValidYetContext { time, not_before } => {
            format!("the server's certificate is not valid for another {}", days(*time, *not_before))
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the server's certificate bears another name ({})", words(error))
        }
        CertificateError::UnknownIssuer => {
            String::from("the server's certificate is from an authority that is not trusted")
        }
        CertificateError::BadSignature => {
            String::from("the server's certificate is from an authority that is not the trusted one of that name")
        }
        CertificateError::Other(other) if other.0.is::<SelfSigned>() => {
            String::from("the server's certificate is signed by itself and not trusted")
        }
        error => format!("the server's certificate is not valid ({})", words(error)),
    }
}

fn of_alert(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::CertificateRequired => String::from("the server wants a client certificate"),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied => format!("the server refuses our certificate, or wants one ({alert:?})"),
        AlertDescription::HandshakeFailure => {
            String::from("no TLS that both sides speak, or the server wants a client certificate (HandshakeFailure)")
        }
        AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity => {
            format!("no TLS that both sides speak ({alert:?})")
        }
        AlertDescription::NoApplicationProtocol => String::from("the server speaks none of the protocols offered"),
        AlertDescription::UnrecognisedName => String::from("the server doesn't know the name that it was asked for"),
        alert => format!("the server refuses ({alert:?})"),
    }
}

/// The days, or hours, between two moments.
fn days(from: UnixTime, to: UnixTime) -> String {
    let between = Duration::from_secs(to.as_secs().saturating_sub(from.as_secs()));
    match between.as_secs() / 3600 {
        hours @ 0..48 => format!("{hours} hours"),
        hours => format!("{} days", hours / 24),
    }
}

fn words(error: &impl fmt::Display) -> String {
    error.to_string().chars().take(MAX_WORDS).collect()
}
