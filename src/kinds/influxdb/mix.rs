//! Numbers that look random and aren't: they follow from others, so a point is the same whenever it is made.

/// What numbers are multiplied with: odd, and of no pattern.
const FACTORS: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93];

/// What makes the values of a field others than those of its neighbours.
pub fn salt(field: usize) -> u64 {
    FACTORS[0].wrapping_mul(field as u64 + 1)
}

/// A number below `end`, or 0 where that is 0: always the same for a number and a salt, and another for the next.
#[inline(always)]
pub fn below(end: u64, number: u64, salt: u64) -> u64 {
    let mixed = (number ^ salt).wrapping_mul(FACTORS[0]);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(FACTORS[1]);
    // As much of `end` as `mixed` is of all that it could be: without a division.
    ((u128::from(mixed) * u128::from(end)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_about_as_often_and_each_field_has_its_own() {
        for (field, step) in [(0, 1), (1, 1), (2, 100_000), (0, 1 << 20)] {
            let mut times = [0_u32; 1000];
            let mut same = 0;
            for number in (0..1_000_000).map(|index| index * step) {
                let value = below(1000, number, salt(field));
                times[value as usize] += 1;
                same += u32::from(value == below(1000, number, salt(field + 1)));
            }
            assert!(times.iter().all(|times| (800..1200).contains(times)), "field {field}, each {step}th: {times:?}");
            assert!((700..1300).contains(&same), "{same} of a million are those of the next field");
        }
    }

    #[test]
    fn it_is_below_the_end() {
        for number in 0..1000 {
            assert_eq!((below(0, number, 7), below(1, number, 7)), (0, 0));
            assert!(below(u64::MAX, number, u64::MAX) < u64::MAX);
        }
    }
}
