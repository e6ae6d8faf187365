//! The models that come with the binary, built by `cargo xtask plugins` from `scoring/plugins`.

use crate::source::{ComponentSource, SourceError};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::sync::LazyLock;

/// A component that comes with the binary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// The name it is found by.
    pub name: &'static str,
    /// SHA-256 of the bytes, hexadecimal.
    pub digest: String,
    /// The component.
    pub bytes: &'static [u8],
}

static ALL: LazyLock<Vec<Component>> = LazyLock::new(|| {
    let components: [(&str, &[u8]); 6] = [
        ("ewma", include_bytes!("../plugins/prebuilt/ewma.wasm")),
        ("record", include_bytes!("../plugins/prebuilt/record.wasm")),
        ("hampel", include_bytes!("../plugins/prebuilt/hampel.wasm")),
        ("cusum", include_bytes!("../plugins/prebuilt/cusum.wasm")),
        ("seasonal", include_bytes!("../plugins/prebuilt/seasonal.wasm")),
        ("trees", include_bytes!("../plugins/prebuilt/trees.wasm")),
    ];
    components.map(|(name, bytes)| Component { name, digest: digest_of(bytes), bytes }).to_vec()
});

/// All of them.
#[must_use]
pub fn all() -> &'static [Component] {
    &ALL
}

/// The one of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Component> {
    ALL.iter().find(|component| component.name == name)
}

/// EWMA z-score with refractory period; its settings are documented in `scoring/plugins/ewma`.
#[must_use]
pub fn ewma() -> &'static Component {
    &ALL[0]
}

/// A [`ComponentSource`] of the shipped components.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shipped;

impl ComponentSource for Shipped {
    fn fetch(&self, digest: &str) -> Result<Option<Cow<'static, [u8]>>, SourceError> {
        Ok(ALL
            .iter()
            .find(|component| component.digest == digest)
            .map(|component| Cow::Borrowed(component.bytes)))
    }
}

/// SHA-256 of a component or of weights, as [`schemas::pipeline::Model`] names them.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
