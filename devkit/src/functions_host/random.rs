//! The emulator's one source of random ids and keys.

use base64::{Engine as _, engine::general_purpose::URL_SAFE};

/// A random UUID in its usual spelling.
#[expect(clippy::disallowed_methods, reason = "the emulator's one place that draws random numbers")]
pub fn id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// A random key, spelled as the host spells its own.
#[expect(clippy::disallowed_methods, reason = "the emulator's one place that draws random numbers")]
pub fn key() -> String {
    let bytes: [u8; 40] = std::array::from_fn(|_| rand::random());
    URL_SAFE.encode(bytes)
}

/// Random bits.
#[expect(clippy::disallowed_methods, reason = "the emulator's one place that draws random numbers")]
pub fn bits() -> u32 {
    rand::random()
}
