//! What a simulated machine decides: at random, or every possibility in turn.

pub enum Chooser {
    Random(u64),
    /// Digits of an odometer: the choice and the number of possibilities, as far as chosen yet.
    Every {
        digits: Vec<(u32, u32)>,
        next: usize,
    },
}

impl Chooser {
    pub fn random(seed: u64) -> Self {
        Chooser::Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// One of `0..num`.
    pub fn choose(&mut self, num: u32) -> u32 {
        match self {
            Chooser::Random(state) => {
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                (((state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) * u64::from(num)) >> 32) as u32
            }
            Chooser::Every { digits, next } => {
                if *next == digits.len() {
                    digits.push((0, num));
                }
                assert_eq!(digits[*next].1, num, "the history is not a function of its choices");
                *next += 1;
                digits[*next - 1].0
            }
        }
    }

    /// True once in `num`, never if it is 0.
    pub fn once_in(&mut self, num: u32) -> bool {
        num > 0 && self.choose(num) == 0
    }
}

/// The next odometer, if there is one.
pub fn next(mut digits: Vec<(u32, u32)>) -> Option<Vec<(u32, u32)>> {
    while let Some((digit, num)) = digits.pop() {
        if digit + 1 < num {
            digits.push((digit + 1, num));
            return Some(digits);
        }
    }
    None
}
