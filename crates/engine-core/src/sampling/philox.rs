//! Philox4x32-10, the counter-based random numbers of Salmon, Moraes, Dror and Shaw, "Parallel
//! random numbers: as easy as 1, 2, 3", SC 2011: a keyed bijection of 128-bit counters. No state
//! is kept, so a number depends on what it is for and never on what was drawn before it.

/// Multipliers of the two halves of the counter (table 2 of the paper).
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// What each round adds to the key: the golden ratio and √3 − 1, as fractions of 2³².
const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const NUM_ROUNDS: usize = 10;

/// Four random words for `counter` under `key`.
pub fn philox4x32(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let (mut words, mut key) = (counter, key);
    for _ in 0..NUM_ROUNDS {
        let product0 = u64::from(words[0]) * u64::from(MULTIPLIERS[0]);
        let product1 = u64::from(words[2]) * u64::from(MULTIPLIERS[1]);
        words = [
            (product1 >> 32) as u32 ^ words[1] ^ key[0],
            product1 as u32,
            (product0 >> 32) as u32 ^ words[3] ^ key[1],
            product0 as u32,
        ];
        key = [key[0].wrapping_add(KEY_STEPS[0]), key[1].wrapping_add(KEY_STEPS[1])];
    }
    words
}

/// Which random numbers a token is drawn with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SampleKey {
    seed: u64,
    stream: u64,
}

impl SampleKey {
    /// For a request with a seed of its own: the same whenever and beside whatever it runs.
    pub const fn from_request_seed(seed: u64) -> Self {
        SampleKey { seed, stream: 0 }
    }

    /// For request number `request` of an engine with seed `engine_seed`: unlike any other request.
    pub const fn from_engine_seed(engine_seed: u64, request: u64) -> Self {
        SampleKey { seed: engine_seed, stream: request.wrapping_add(1) }
    }

    /// The words that its random numbers are a function of, besides their position: two of the key and two of the
    /// counter, for whoever draws them elsewhere.
    pub const fn words(self) -> ([u32; 2], [u32; 2]) {
        (halves(self.seed), halves(self.stream))
    }
}

const fn halves(word: u64) -> [u32; 2] {
    [word as u32, (word >> 32) as u32]
}

/// Uniform numbers in (0, 1) for one position of one request, addressed by index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uniforms {
    key: [u32; 2],
    stream: [u32; 2],
    position: u32,
}

impl Uniforms {
    pub(super) fn new(sample_key: SampleKey, position: u32) -> Self {
        let (key, stream) = sample_key.words();
        Uniforms { key, stream, position }
    }

    /// Numbers `2 * pair` and `2 * pair + 1`: the middles of 2⁵² equal parts, so never 0 nor 1.
    pub(super) fn pair(&self, pair: u32) -> [f64; 2] {
        let counter = [pair, self.position, self.stream[0], self.stream[1]];
        let [a, b, c, d] = philox4x32(counter, self.key);
        let uniform = |high: u32, low: u32| {
            let word = u64::from(high) << 32 | u64::from(low);
            ((word >> 12) as f64 + 0.5) * (1.0 / (1u64 << 52) as f64)
        };
        [uniform(a, b), uniform(c, d)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that the authors publish with Random123 (`kat_vectors`).
    #[test]
    fn gives_the_published_known_answers() {
        assert_eq!(
            philox4x32([0; 4], [0; 2]),
            [0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8]
        );
        assert_eq!(
            philox4x32([u32::MAX; 4], [u32::MAX; 2]),
            [0x408F_276D, 0x41C8_3B0E, 0xA20B_C7C6, 0x6D54_51FD]
        );
        assert_eq!(
            philox4x32(
                [0x243F_6A88, 0x85A3_08D3, 0x1319_8A2E, 0x0370_7344],
                [0xA409_3822, 0x299F_31D0]
            ),
            [0xD16C_FE09, 0x94FD_CCEB, 0x5001_E420, 0x2412_6EA1]
        );
    }

    #[test]
    fn seeded_and_unseeded_requests_never_share_numbers() {
        let draw = |key| Uniforms::new(key, 3).pair(0);
        let seeded = draw(SampleKey::from_request_seed(7));
        assert_eq!(seeded, draw(SampleKey::from_request_seed(7)));
        for request in 0..100 {
            assert_ne!(seeded, draw(SampleKey::from_engine_seed(7, request)));
        }
        assert_ne!(seeded, draw(SampleKey::from_request_seed(7 << 32)));
        assert_ne!(seeded, Uniforms::new(SampleKey::from_request_seed(7), 4).pair(0));
    }

    #[test]
    fn numbers_lie_strictly_between_0_and_1() {
        let uniforms = Uniforms::new(SampleKey::from_request_seed(1), 0);
        let numbers = (0..50_000).flat_map(|pair| uniforms.pair(pair));
        let (mut sum, mut count) = (0.0, 0);
        for number in numbers {
            assert!(0.0 < number && number < 1.0);
            sum += number;
            count += 1;
        }
        // Mean ½ with a standard deviation of 1/√(12 · count) = 0.0009.
        assert!((sum / f64::from(count) - 0.5).abs() < 0.004);
        assert!(((u64::MAX >> 12) as f64 + 0.5) * (1.0 / (1u64 << 52) as f64) < 1.0);
    }
}
