//! Lua scripts: a name, a version and a text; and one call of one, with its keys and arguments.

use std::sync::OnceLock;

/// A script. Declared once, as a static, beside the domain that calls it.
#[derive(Debug)]
pub struct Script {
    /// Its name in errors and logs.
    pub name: &'static str,
    /// Raised with every change of keys, arguments or reply.
    pub version: u32,
    source: &'static str,
    sha: OnceLock<String>,
}

impl Script {
    /// A script from its text.
    pub const fn new(name: &'static str, version: u32, source: &'static str) -> Self {
        Self { name, version, source, sha: OnceLock::new() }
    }

    /// The text that Redis runs.
    pub fn source(&self) -> &'static str {
        self.source
    }

    /// The name under which Redis keeps it.
    pub fn sha(&self) -> &str {
        self.sha.get_or_init(|| redis::Script::new(self.source).get_hash().to_owned())
    }

    /// A call of it, to which keys and arguments are added.
    pub fn call(&'static self) -> ScriptCall {
        ScriptCall { script: self, keys: Words::default(), args: Words::default() }
    }

    pub(super) fn load(&self) -> redis::Cmd {
        let mut cmd = redis::cmd("SCRIPT");
        cmd.arg("LOAD").arg(self.source);
        cmd
    }
}

/// One call of a script.
#[derive(Debug, Clone)]
pub struct ScriptCall {
    pub(super) script: &'static Script,
    keys: Words,
    args: Words,
}

/// Words one behind the other, and where each ends: a call has dozens, and one allocation each would be felt.
#[derive(Debug, Clone, Default)]
struct Words {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Words {
    fn push(&mut self, word: &[u8]) {
        self.bytes.extend_from_slice(word);
        self.ends.push(self.bytes.len());
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start..end])
    }
}

impl ScriptCall {
    /// Adds a key.
    #[must_use]
    pub fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.keys.push(key.as_ref());
        self
    }

    /// Adds several keys.
    #[must_use]
    pub fn keys<K: AsRef<[u8]>>(self, keys: impl IntoIterator<Item = K>) -> Self {
        keys.into_iter().fold(self, Self::key)
    }

    /// Adds an argument of bytes.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<[u8]>) -> Self {
        self.args.push(arg.as_ref());
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn num(self, number: i64) -> Self {
        self.arg(number.to_string())
    }

    pub(super) fn evalsha(&self) -> redis::Cmd {
        let words = 3 + self.keys.ends.len() + self.args.ends.len();
        let size = self.keys.bytes.len() + self.args.bytes.len() + 64;
        let mut cmd = redis::Cmd::with_capacity(words, size);
        cmd.arg("EVALSHA").arg(self.script.sha()).arg(self.keys.ends.len());
        for word in self.keys.iter().chain(self.args.iter()) {
            cmd.arg(word);
        }
        cmd
    }
}
