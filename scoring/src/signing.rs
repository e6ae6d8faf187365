//! Whose components may run: minisign signatures (Ed25519 over BLAKE2b-512) by keys that the configuration trusts.
//!
//! Lives here: keys, and the verdict on bytes and a signature. Does not live here: where a signature lies (`source`), when
//! it is asked for (`loader`: over the very bytes that are compiled and run).

use base64::Engine;
use minisign_verify::{Error, PublicKey, Signature};

/// Most keys of a configuration.
pub const TRUSTED_KEYS_MAX: usize = 64;
/// Most bytes of a signature file; real ones have some 300.
pub const SIGNATURE_BYTES_MAX: u64 = 4096;

/// Keys whose signatures are believed. None: nothing has to be signed.
#[derive(Clone, Debug, Default)]
pub struct TrustedKeys(Vec<TrustedKey>);

#[derive(Clone, Debug)]
struct TrustedKey {
    id: String,
    key: PublicKey,
}

/// Not a public key of minisign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not one.
    #[error(
        "not a public key of minisign: one line of Base64 that begins with RW, the second line of minisign.pub"
    )]
    Unreadable,
    /// Too many.
    #[error("more than {TRUSTED_KEYS_MAX} keys")]
    TooMany,
}

/// Why a component's signature is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is none.
    #[error(
        "{origin} is not signed; `scoring.trusted-keys` wants a signature by {trusted} in {origin}.minisig"
    )]
    Unsigned {
        /// File or address of the component.
        origin: String,
        /// The keys that would do.
        trusted: String,
    },
    /// By somebody else.
    #[error("{origin} is signed by the key {key}, and `scoring.trusted-keys` trusts {trusted}")]
    Untrusted {
        /// File or address of the component.
        origin: String,
        /// Who signed.
        key: String,
        /// The keys that would do.
        trusted: String,
    },
    /// By a trusted key, and not over these bytes.
    #[error("{origin} is not what the key {key} has signed: the component or its signature was changed")]
    Wrong {
        /// File or address of the component.
        origin: String,
        /// Who is said to have signed.
        key: String,
    },
    /// Not a signature.
    #[error("{origin}.minisig is no signature of minisign: {why}")]
    Unreadable {
        /// File or address of the component.
        origin: String,
        /// In words.
        why: String,
    },
}

impl TrustedKeys {
    /// Reads keys as minisign writes them.
    ///
    /// # Errors
    /// Which of them (from 0) is none, and why.
    pub fn parse<S: AsRef<str>>(keys: &[S]) -> Result<Self, (usize, KeyError)> {
        if keys.len() > TRUSTED_KEYS_MAX {
            return Err((TRUSTED_KEYS_MAX, KeyError::TooMany));
        }
        let one = |(place, text): (usize, &S)| {
            let text = text.as_ref().trim();
            let key = PublicKey::from_base64(text).map_err(|_| (place, KeyError::Unreadable))?;
            let id = key_id(text).ok_or((place, KeyError::Unreadable))?;
            Ok(TrustedKey { id, key })
        };
        keys.iter().enumerate().map(one).collect::<Result<_, _>>().map(Self)
    }

    /// Whether nothing has to be signed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a trusted key has signed exactly these bytes. `origin` is what the component is called in a refusal.
    ///
    /// # Errors
    /// Why not. Without keys everything is good.
    pub fn check(
        &self,
        component: &[u8],
        origin: &str,
        signature: Option<&str>,
    ) -> Result<(), SignatureError> {
        if self.is_empty() {
            return Ok(());
        }
        let origin = || origin.to_owned();
        let Some(text) = signature else {
            return Err(SignatureError::Unsigned { origin: origin(), trusted: self.ids() });
        };
        let unreadable = |why: &str| SignatureError::Unreadable { origin: origin(), why: why.to_owned() };
        let signature = Signature::decode(text).map_err(|why| unreadable(&why.to_string()))?;
        let key = text.lines().nth(1).and_then(key_id).ok_or_else(|| unreadable("it names no key"))?;
        // Two keys may be called the same; the numbers are the signers' own choice.
        let known: Vec<&TrustedKey> = self.0.iter().filter(|trusted| trusted.id == key).collect();
        if known.is_empty() {
            return Err(SignatureError::Untrusted { origin: origin(), key, trusted: self.ids() });
        }
        let mut verdict = Err(SignatureError::Wrong { origin: origin(), key });
        for trusted in known {
            // The old form, which signs the bytes themselves, is refused: minisign has not written it since 2021.
            match trusted.key.verify(component, &signature, false) {
                Ok(()) => return Ok(()),
                Err(Error::UnexpectedAlgorithm) => {
                    verdict = Err(unreadable("it is of the old form; sign with minisign 0.10 or newer"));
                }
                Err(_) => {}
            }
        }
        verdict
    }

    fn ids(&self) -> String {
        let ids: Vec<&str> = self.0.iter().map(|key| key.id.as_str()).collect();
        ids.join(", ")
    }
}

/// The number that minisign shows of a key, from a key or the second line of a signature: both begin with two bytes of
/// algorithm and eight of number, little-endian.
fn key_id(line: &str) -> Option<String> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(line.trim()).ok()?;
    let number = bytes.get(2..10)?.try_into().ok()?;
    Some(format!("{:016X}", u64::from_le_bytes(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    // The example of minisign's own documentation: a key, and its signature of the four bytes `test`.
    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    const SIGNATURE: &str = "untrusted comment: signature from minisign secret key\n\
        RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
        trusted comment: timestamp:1633700835\tfile:test\tprehashed\n\
        wLMDjy9FLAuxZ3q4NlEvkgtyhrr0gtTu6KC4KBJdITbbOeAi1zBIYo0v4iTgt8jJpIidRJnp94ABQkJAgAooBQ==\n";
    const ID: &str = "E7620F1842B4E81F";

    fn keys() -> TrustedKeys {
        TrustedKeys::parse(&[KEY]).unwrap()
    }

    #[test]
    fn bytes_that_a_trusted_key_has_signed_are_good_and_no_others() {
        assert_eq!(keys().check(b"test", "m.wasm", Some(SIGNATURE)), Ok(()));
        assert_eq!(keys().ids(), ID, "as minisign shows it");
        let wrong = SignatureError::Wrong { origin: "m.wasm".to_owned(), key: ID.to_owned() };
        for bytes in [&b"Test"[..], b"test\0", b""] {
            assert_eq!(keys().check(bytes, "m.wasm", Some(SIGNATURE)), Err(wrong.clone()));
        }
        let comment = SIGNATURE.replace("file:test", "file:best");
        assert_eq!(keys().check(b"test", "m.wasm", Some(&comment)), Err(wrong), "the comment is signed too");
    }

    #[test]
    fn a_refusal_names_the_file_and_the_keys() {
        let unsigned = keys().check(b"test", "m.wasm", None).unwrap_err().to_string();
        assert!(unsigned.contains("m.wasm is not signed") && unsigned.contains(ID), "{unsigned}");
        // Another number in the signature: somebody else's.
        let mut bytes =
            base64::engine::general_purpose::STANDARD.decode(SIGNATURE.lines().nth(1).unwrap()).unwrap();
        bytes[2] ^= 1;
        let line = base64::engine::general_purpose::STANDARD.encode(&bytes);
        let other = SIGNATURE.replace(SIGNATURE.lines().nth(1).unwrap(), &line);
        let untrusted = keys().check(b"test", "m.wasm", Some(&other)).unwrap_err().to_string();
        assert!(
            untrusted.contains("signed by the key E7620F1842B4E81E") && untrusted.contains(ID),
            "{untrusted}"
        );
        for text in ["", "a\nb\nc\nd\n", "untrusted comment: x\n"] {
            let refused = keys().check(b"test", "m.wasm", Some(text));
            assert!(matches!(refused, Err(SignatureError::Unreadable { .. })), "{text:?}: {refused:?}");
        }
    }

    #[test]
    fn without_keys_nothing_has_to_be_signed() {
        let none = TrustedKeys::parse::<&str>(&[]).unwrap();
        assert!(none.is_empty());
        assert_eq!(none.check(b"x", "m.wasm", None), Ok(()));
    }

    #[test]
    fn what_is_no_key_is_refused_by_its_place() {
        assert_eq!(TrustedKeys::parse(&[KEY, "RWQnonsense"]).unwrap_err(), (1, KeyError::Unreadable));
        let many = vec![KEY; TRUSTED_KEYS_MAX + 1];
        assert_eq!(TrustedKeys::parse(&many).unwrap_err(), (TRUSTED_KEYS_MAX, KeyError::TooMany));
    }
}
