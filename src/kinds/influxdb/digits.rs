//! Bytes and numbers that a line is put together from, with as few decisions as can be.
//!
//! What is written is padded to a length that the compiler knows, and what is
//! too much is cut off again: that is a few wide moves, where a copy of so many
//! bytes as there are is a call. So a buffer needs [`ROOM`] beyond what it will
//! hold; without it it grows.

/// The bytes that a buffer has to have free behind the last one, that it need not grow.
pub const ROOM: usize = Piece::MAX;
/// One more than the most that [`small`] takes.
pub const SMALL: u64 = 1000;
/// One more than the most that has eight digits.
const EIGHT: u64 = 100_000_000;
/// One more than the most that has twelve digits.
pub const TWELVE: u64 = 10_000 * EIGHT;
/// The most digits that a number has.
pub const MOST: usize = 20;
/// Makes a number from 0 to 9 in each byte a digit.
const TO_ASCII: u64 = 0x3030_3030_3030_3030;
/// The numbers below [`SMALL`]: up to three digits, and how many.
static SMALLS: [[u8; 4]; SMALL as usize] = smalls();

/// A short text.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    bytes: [u8; Self::MAX],
    len: usize,
}

impl Piece {
    /// The most bytes it can have.
    pub const MAX: usize = 32;

    /// A text, cut off behind [`MAX`](Self::MAX) bytes.
    pub fn new(text: &[u8]) -> Self {
        let len = text.len().min(Self::MAX);
        let mut bytes = [0; Self::MAX];
        bytes[..len].copy_from_slice(&text[..len]);
        Self { bytes, len }
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Appends it.
    #[inline(always)]
    pub fn write(&self, into: &mut Vec<u8>) {
        padded(self.bytes, self.len, into);
    }
}

/// Appends a number, without zeros before it.
#[inline(always)]
pub fn number(number: u64, into: &mut Vec<u8>) {
    if number < EIGHT {
        first(number, into);
    } else if number < EIGHT * EIGHT {
        first(number / EIGHT, into);
        all_eight(number % EIGHT, into);
    } else {
        first(number / (EIGHT * EIGHT), into);
        all_eight(number / EIGHT % EIGHT, into);
        all_eight(number % EIGHT, into);
    }
}

/// Appends a number of at most twelve digits, with zeros before it to make them twelve, and the byte `end`.
#[inline(always)]
pub fn all_twelve(number: u64, end: u8, into: &mut Vec<u8>) {
    let first = four(number / EIGHT) | TO_ASCII >> 32;
    let last = eight(number % EIGHT) | TO_ASCII;
    let bytes = u128::from(first) | u128::from(last) << 32 | u128::from(end) << 96;
    padded(bytes.to_le_bytes(), 13, into);
}

/// Appends a number that is less than [`SMALL`]; of another, what is left when it is divided by that.
#[inline(always)]
pub fn small(number: u64, into: &mut Vec<u8>) {
    let digits = SMALLS[(number % SMALL) as usize];
    padded(digits, usize::from(digits[3]), into);
}

/// Appends a number of at most eight digits, without zeros before it.
#[inline(always)]
fn first(number: u64, into: &mut Vec<u8>) {
    let digits = eight(number);
    // The bit is one of the last digit's, which stays though it be a zero.
    let zeros = (digits | 1 << 56).trailing_zeros() / 8;
    padded(((digits | TO_ASCII) >> (8 * zeros)).to_le_bytes(), 8 - zeros as usize, into);
}

/// Appends a number of at most eight digits, with zeros before it to make them eight.
#[inline(always)]
fn all_eight(number: u64, into: &mut Vec<u8>) {
    into.extend_from_slice(&(eight(number) | TO_ASCII).to_le_bytes());
}

/// The eight digits of a number, each a byte from 0 to 9, the first one lowest.
///
/// All are worked out at once: 12345678 becomes 1234 and 5678, those 12, 34, 56 and 78, those a digit each. A division
/// is a multiplication that is exact for numbers as small as these.
///
/// A call, on purpose: inlined into what writes a line it took the compiler 7 ns a point more.
#[inline(never)]
fn eight(number: u64) -> u64 {
    let fours = (number / 10_000) | ((number % 10_000) << 32);
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | (fours - 100 * hundreds) << 16;
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | (twos - 10 * tens) << 8
}

/// The four digits of a number, likewise.
#[inline(always)]
fn four(number: u64) -> u64 {
    let hundreds = (number * 10_486) >> 20;
    let twos = hundreds | (number - 100 * hundreds) << 16;
    let tens = ((twos * 103) >> 10) & 0x000f_000f;
    tens | (twos - 10 * tens) << 8
}

/// Appends the first `len` of some bytes.
#[inline(always)]
fn padded<const N: usize>(bytes: [u8; N], len: usize, into: &mut Vec<u8>) {
    let end = into.len() + len;
    into.extend_from_slice(&bytes);
    into.truncate(end);
}

const fn smalls() -> [[u8; 4]; SMALL as usize] {
    let mut all = [[0; 4]; SMALL as usize];
    let mut number = 0;
    while number < all.len() {
        let [hundreds, tens, ones] = [number / 100, number / 10 % 10, number % 10];
        let [hundreds, tens, ones] = [b'0' + hundreds as u8, b'0' + tens as u8, b'0' + ones as u8];
        all[number] = match number {
            0..10 => [ones, 0, 0, 1],
            10..100 => [tens, ones, 0, 2],
            _ => [hundreds, tens, ones, 3],
        };
        number += 1;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_everywhere() {
        let mut random = fastrand::Rng::with_seed(5);
        let powers = (0..20).map(|exponent| 10_u64.pow(exponent));
        let edges = powers.flat_map(|power| [power - 1, power, power + 1]).chain([u64::MAX - 1, u64::MAX]);
        let any = std::iter::repeat_with(|| random.u64(..) >> random.u32(0..64)).take(20_000);
        for value in edges.chain(0..10_000).chain(any) {
            let mut written = b"before ".to_vec();
            number(value, &mut written);
            assert_eq!(String::from_utf8(written).unwrap(), format!("before {value}"));
        }
    }

    #[test]
    fn all_eight_digits_are_right_whatever_a_part_of_them_is() {
        for part in 0..10_000 {
            for value in [part, part * 10_000, part * 10_001, part * 10_000 + 9_999] {
                let mut written = Vec::new();
                all_eight(value, &mut written);
                assert_eq!(String::from_utf8(written).unwrap(), format!("{value:08}"));
            }
        }
    }

    #[test]
    fn all_twelve_digits_are_right_whatever_a_part_of_them_is() {
        for part in 0..10_000 {
            for value in [part, part * EIGHT, part * (EIGHT + 10_001)] {
                let mut written = Vec::new();
                all_twelve(value, b'!', &mut written);
                assert_eq!(String::from_utf8(written).unwrap(), format!("{value:012}!"));
            }
        }
    }

    #[test]
    fn small_numbers_are_written_as_others() {
        for value in 0..SMALL {
            let mut written = b"before ".to_vec();
            small(value, &mut written);
            assert_eq!(String::from_utf8(written).unwrap(), format!("before {value}"));
        }
    }

    #[test]
    fn a_piece_is_what_it_was_made_of() {
        for len in [0, 1, Piece::MAX - 1, Piece::MAX, Piece::MAX + 1] {
            let text = vec![b'x'; len];
            let mut written = b"before ".to_vec();
            Piece::new(&text).write(&mut written);
            assert_eq!(&written[..7], b"before ");
            assert_eq!(written[7..], text[..len.min(Piece::MAX)]);
        }
    }
}
