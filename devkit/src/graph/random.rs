//! The simulator's random numbers: seeded, so that a run can be repeated.

use rand::{Rng, SeedableRng, rngs::StdRng};

/// A seeded source of ids and chances.
#[derive(Debug)]
pub struct SimRng(StdRng);

impl SimRng {
    /// A source whose numbers follow from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// An id as Planner makes them: 28 characters of base64url.
    pub fn planner_id(&mut self) -> String {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        (0..28).map(|_| char::from(LETTERS[(self.next_u64() % 64) as usize])).collect()
    }

    /// A random GUID.
    pub fn guid(&mut self) -> String {
        let bits = (u128::from(self.next_u64()) << 64) | u128::from(self.next_u64());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().to_string()
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        (self.next_u64() >> 11) as f64 / ((1_u64 << 53) as f64) < probability
    }
}
