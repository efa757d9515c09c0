//! Certificates of all sorts, made when they are asked for.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;

/// An authority that nobody trusts who isn't told to.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// A certificate and its key, as files in PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Authority {
    /// One of its own.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are good names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(2000, 1, 1);
        let key = KeyPair::generate().expect("a key can be made");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("it signs itself");
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let authority = Self { issuer, folder };
        std::fs::write(authority.file(), authority.issuer.pem()).expect("it can be written");
        authority
    }

    /// Its own certificate, to be trusted, in PEM.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// A certificate for `name`, a host name or an address, that holds from 2000 until the beginning of `until`.
    pub fn certify(&self, name: &str, until: i32) -> Certificate {
        let mut params = CertificateParams::new([name.to_owned()]).expect("it is a name");
        // Who is called as its authority is would be taken for that.
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("it is signed");
        self.write(&format!("{name}-{until}"), &certificate.pem(), &key)
    }

    /// A certificate for `name` that nobody but itself has signed.
    pub fn self_signed(&self, name: &str) -> Certificate {
        let mut params = CertificateParams::new([name.to_owned()]).expect("it is a name");
        params.not_before = date_time_ymd(2000, 1, 1);
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.self_signed(&key).expect("it signs itself");
        self.write(&format!("{name}-alone"), &certificate.pem(), &key)
    }

    fn write(&self, name: &str, certificate: &str, key: &KeyPair) -> Certificate {
        let [certificate_file, key_file] = ["crt", "key"].map(|end| self.folder.path().join(format!("{name}.{end}")));
        std::fs::write(&certificate_file, certificate).expect("it can be written");
        std::fs::write(&key_file, key.serialize_pem()).expect("it can be written");
        Certificate { certificate: certificate_file, key: key_file }
    }
}
