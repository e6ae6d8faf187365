//! Opaque cursors: the key of the last item of a page, bound to the query it came from.
//!
//! A cursor is base64 (URL alphabet) of a checksum and the key as JSON. The checksum covers the query too, so a
//! cursor that was cut, edited or used with another query is refused instead of silently giving another list.

use crate::port::StoreError;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

const CURSOR_BYTES_MAX: usize = 2048;

/// Names a list and everything that selects it, page size apart.
#[must_use]
pub(crate) fn scope(parts: &[&str]) -> u64 {
    parts.iter().fold(FNV_BASIS, |hash, part| fnv1a(fnv1a(hash, part.as_bytes()), &[0xff]))
}

/// The cursor that stands for a key within a scope.
pub(crate) fn encode<K: Serialize>(scope: u64, key: &K) -> Result<String, StoreError> {
    let body = serde_json::to_vec(key).map_err(|error| StoreError::Fatal(format!("a cursor: {error}")))?;
    let mut bytes = fnv1a(scope, &body).to_be_bytes().to_vec();
    bytes.extend_from_slice(&body);
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The key a cursor stands for.
///
/// # Errors
/// [`StoreError::Argument`] when the cursor is damaged or belongs to another list.
pub(crate) fn decode<K: DeserializeOwned>(scope: u64, cursor: &str) -> Result<K, StoreError> {
    let refused = || {
        StoreError::Argument(
            "the cursor is not one that this list gave: use `next` of the page before unchanged, with the same \
             device and filters"
                .to_owned(),
        )
    };
    if cursor.len() > CURSOR_BYTES_MAX {
        return Err(refused());
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| refused())?;
    let (sum, body) = bytes.split_first_chunk::<8>().ok_or_else(refused)?;
    if u64::from_be_bytes(*sum) != fnv1a(scope, body) {
        return Err(refused());
    }
    serde_json::from_slice(body).map_err(|_| refused())
}

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, 64 bits (Fowler, Noll, Vo): against accidents, not against attackers. A forged cursor only names
/// another place in a list that its bearer may read anyway.
fn fnv1a(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_in_its_own_scope_only() {
        let mine = scope(&["windows", "a", "b"]);
        let cursor = encode(mine, &(5_i64, "x")).unwrap();
        assert_eq!(decode::<(i64, String)>(mine, &cursor).unwrap(), (5, "x".to_owned()));
        for other in [scope(&["windows", "ab", ""]), scope(&["windows", "a", "b", ""]), scope(&[])] {
            assert!(matches!(decode::<(i64, String)>(other, &cursor), Err(StoreError::Argument(_))));
        }
    }

    #[test]
    fn every_changed_character_is_refused() {
        let scope = scope(&["devices"]);
        let cursor = encode(scope, &"sensor-12").unwrap();
        for at in 0..cursor.len() {
            let mut bytes = cursor.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(decode::<String>(scope, &changed).is_err(), "{changed}");
            assert!(decode::<String>(scope, &cursor[..at]).is_err());
        }
        assert!(decode::<String>(scope, &"A".repeat(5000)).is_err());
        assert!(decode::<String>(scope, "ä").is_err());
    }
}
