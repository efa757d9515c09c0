//! Which parts of a path are numbers and IDs, going by what they look like.
//!
//! Numbers, dates, UUIDs, hexadecimal digits, tokens and addresses of mail are;
//! words are not, nor versions. Where it can't be told, it is an ID: a word too
//! many that isn't told apart is better than a secret that is told.

/// How many digits a part of a word has at least to be a number like any other: `iphone-15` isn't one.
const MIN_DIGITS: usize = 4;
/// How many hexadecimal digits are an ID, at least, if there is a decimal one among them.
const MIN_HEX: usize = 8;
/// How many letters and digits are an ID, at least.
const MIN_TOKEN: usize = 16;
/// Where the parts of a UUID end, and its length.
const UUID: [usize; 5] = [8, 13, 18, 23, 36];
/// Which letters follow a, b, c and so on in words: pairs that hardly any English word has are left out.
const FOLLOWERS: [&str; 26] = [
    "bcdfgiklmnprstuvwxyz",
    "aceilorstuy",
    "acehikloprstuy",
    "adegilnorsuvy",
    "abcdefghilmnopqrstuvwxy",
    "aefilorstuy",
    "aeghilmnorsu",
    "aeilmorstuy",
    "abcdefgklmnoprstvxz",
    "eou",
    "aeilnos",
    "acdefilopstuvy",
    "abeilmopsu",
    "acdefgiklnopstuvy",
    "abcdefgiklmnoprstuvwxy",
    "aehiloprstuy",
    "u",
    "abcdefgiklmnoprstuvwy",
    "acefhiklmopstuwy",
    "acdefhilmoprstuwy",
    "abcdefgilmnoprst",
    "aeio",
    "aehilnors",
    "ceipt",
    "aeimnopst",
    "aei",
];
/// Of letters whose words are shorter than this on average, nobody made words.
const SHORT: usize = 3;
/// Nor of those of which more than one pair in so many is in none.
const ODD: usize = 6;

/// Gives `each` the parts of a path's segment, all of it, and whether they are IDs, as in `order-4711.json`. One with
/// percent signs has a single part.
pub fn each_part(segment: &str, each: &mut impl FnMut(&str, bool)) {
    let may_have_one = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'%' | b'@');
    if !segment.bytes().any(may_have_one) && segment.len() < MIN_TOKEN {
        return each(segment, false);
    }
    match decoded(segment) {
        Some(plain) => each(segment, has_id(&plain)),
        None if is_id(segment) => each(segment, true),
        None if is_version(segment) => each(segment, false),
        None => parts(segment, each),
    }
}

/// Whether it is decimal digits, and any at all.
pub fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// What the percent signs of a segment mean; `None` where it has none.
fn decoded(segment: &str) -> Option<String> {
    if !segment.contains('%') {
        return None;
    }
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let mut plain = Vec::with_capacity(segment.len());
    let mut bytes = segment.as_bytes();
    while let [first, rest @ ..] = bytes {
        bytes = match (first, digit(rest.first()), digit(rest.get(1))) {
            (b'%', Some(high), Some(low)) => {
                plain.push(u8::try_from(high * 16 + low).unwrap_or(b'%'));
                &rest[2..]
            }
            _ => {
                plain.push(*first);
                rest
            }
        };
    }
    Some(String::from_utf8_lossy(&plain).into_owned())
}

/// Gives `each` the parts of what has no percent signs.
fn parts(segment: &str, each: &mut impl FnMut(&str, bool)) {
    for (group, behind) in split(segment, |c| is_of_token(c) || is_point(c)) {
        match is_id(group) {
            true => each(group, true),
            false => parts_of_group(group, each),
        }
        each(behind, false);
    }
}

/// The parts of what has nothing like brackets and quotes in it.
fn parts_of_group(group: &str, each: &mut impl FnMut(&str, bool)) {
    let mut pieces = group.split('.');
    let first = pieces.next().unwrap_or_default();
    let is_stem = is_digits(first) && pieces.all(|piece| piece.bytes().all(|byte| byte.is_ascii_alphabetic()));
    for (number, (piece, behind)) in split(group, |c| !is_point(c)).enumerate() {
        if is_id_of_parts(piece) || (number == 0 && is_stem) {
            each(piece, true);
        } else {
            for (word, behind) in split(piece, |c| c.is_ascii_alphanumeric()) {
                each(word, is_part_id(word));
                each(behind, false);
            }
        }
        each(behind, false);
    }
}

/// Parts of such characters, each with the one behind it that isn't.
fn split(text: &str, is_of_part: impl Fn(char) -> bool + Copy) -> impl Iterator<Item = (&str, &str)> {
    let ends = text.split_inclusive(move |c| !is_of_part(c));
    ends.map(move |end| end.split_at(end.trim_end_matches(|c| !is_of_part(c)).len()))
}

/// Whether IDs that are no UUIDs may have it.
fn is_of_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+' | '=' | '~' | '/')
}

/// Whether it is between IDs, and in times and lists of numbers.
fn is_point(c: char) -> bool {
    matches!(c, '.' | ':' | ',')
}

/// Whether a number or ID is anywhere in it.
fn has_id(text: &str) -> bool {
    let mut has_one = false;
    parts(text, &mut |_, is_id| has_one |= is_id);
    has_one || is_id(text) || (!is_version(text) && text.split(|c: char| !c.is_alphanumeric()).any(is_digits))
}

/// Whether a segment is an ID as a whole.
fn is_id(segment: &str) -> bool {
    let numbers = segment.strip_prefix(['-', '+']).unwrap_or(segment);
    // Dates, times, lists of numbers.
    let is_numbers = numbers.starts_with(|c: char| c.is_ascii_digit())
        && numbers.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b',' | b':' | b'_' | b'~' | b'+'));
    // As RFC 3339 has them.
    let is_time = numbers.bytes().take_while(u8::is_ascii_digit).count() >= MIN_DIGITS
        && numbers.contains('T')
        && numbers.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b':' | b'.' | b'+' | b'T' | b'Z'));
    // Somebody's address of mail.
    let is_somebody = || segment.find('@').is_some_and(|at| at > 0 && at + 1 < segment.len());
    is_numbers || is_time || is_uuid(segment) || is_somebody()
}

/// `v1`, `2.0`, `v1.12.3`: a few short numbers, and one of them alone only behind a `v`.
fn is_version(segment: &str) -> bool {
    let numbers = segment.strip_prefix(['v', 'V']).unwrap_or(segment);
    let mut count = 0;
    let are_short = numbers.split('.').all(|number| {
        count += 1;
        number.len() <= 3 && is_digits(number)
    });
    are_short && count <= 3 && (count > 1 || numbers.len() < segment.len())
}

/// Whether it is an ID, all of it, that may have other characters than letters and digits in it.
fn is_id_of_parts(piece: &str) -> bool {
    if is_uuid(piece) {
        return true;
    }
    let bytes = piece.as_bytes();
    bytes.len() >= MIN_TOKEN
        && piece.chars().all(is_of_token)
        && bytes.iter().any(u8::is_ascii_alphabetic)
        && match bytes.iter().any(u8::is_ascii_digit) {
            true => !piece.split(|c: char| !c.is_ascii_alphanumeric()).all(is_word),
            false => is_jumbled(bytes),
        }
}

/// Whether a part without anything but letters and digits is an ID.
fn is_part_id(part: &str) -> bool {
    let bytes = part.as_bytes();
    let has_digit = bytes.iter().any(u8::is_ascii_digit);
    if bytes.iter().all(u8::is_ascii_digit) {
        return bytes.len() >= MIN_DIGITS;
    }
    let number = bytes.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    number >= MIN_HEX
        || (bytes.len() >= MIN_HEX && has_digit && bytes.iter().all(u8::is_ascii_hexdigit))
        || (bytes.len() >= MIN_TOKEN && if has_digit { !is_word(part) } else { is_jumbled(bytes) })
}

/// Letters, and behind them a few digits at most, in no stranger case than a word's: `oauth2`, `Page12`, `TOP`, `42`.
fn is_word(part: &str) -> bool {
    let letters = part.trim_end_matches(|c: char| c.is_ascii_digit());
    let mut bytes = letters.bytes();
    let first_is_upper = bytes.next().is_none_or(|byte| byte.is_ascii_uppercase());
    let (mut upper, mut lower) = (true, true);
    for byte in bytes {
        upper &= byte.is_ascii_uppercase();
        lower &= byte.is_ascii_lowercase();
    }
    part.len() - letters.len() < MIN_DIGITS && (lower || (upper && first_is_upper))
}

/// Whether letters of both cases are no words, as those of `getOrdersOfCustomer` and `XMLHttpRequest` are.
fn is_jumbled(text: &[u8]) -> bool {
    let (mut letters, mut words, mut pairs, mut odd, mut is_mixed) = (0, 0, 0, 0, false);
    for (at, letter) in text.iter().enumerate().filter(|(_, byte)| byte.is_ascii_alphabetic()) {
        let before = at.checked_sub(1).map(|at| text[at]).filter(u8::is_ascii_alphabetic);
        let rises = letter.is_ascii_uppercase() && before.is_some_and(|before| before.is_ascii_lowercase());
        let falls = letter.is_ascii_uppercase() && text.get(at + 1).is_some_and(u8::is_ascii_lowercase);
        is_mixed |= rises;
        letters += 1;
        match before {
            Some(before) if !rises && !falls => {
                let followers = FOLLOWERS[usize::from(before.to_ascii_lowercase() - b'a')];
                pairs += 1;
                odd += usize::from(!followers.as_bytes().contains(&letter.to_ascii_lowercase()));
            }
            _ => words += 1,
        }
    }
    is_mixed && (letters < SHORT * words || pairs < ODD * odd)
}

fn is_uuid(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == UUID[4]
        && bytes.iter().enumerate().all(|(at, byte)| match UUID.contains(&at) {
            true => *byte == b'-',
            false => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use crate::kinds::loadtest::route::route;

    fn uuid(bits: u128) -> String {
        let hex = format!("{bits:032x}");
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    #[test]
    fn numbers_and_ids_are_not_told_apart() {
        #[track_caller]
        fn check(segment: &str, expect: &str) {
            assert_eq!(route("GET", &format!("http://h/a/{segment}/b")), format!("GET http://h/a/{expect}/b"));
        }
        for id in [
            "0",
            "42",
            "-42",
            "20261121",
            "2026-11-21",
            "2026-11-21T03:27:00Z",
            "2026-11-21T03:27:00.25+02:00",
            "20261121T032700Z",
            "2026-11-21T03%3A27%3A00Z",
            "1,2,3",
            "c276c8c7-6fec-5aa9-b6bd-4de12a49a9bb",
            "C276C8C7-6FEC-5AA9-B6BD-4DE12A49A9BB",
            "c276c8c76fec5aa9b6bd4de12a49a9bb",
            "deadbee1",
            "507f1f77bcf86cd799439011",
            "01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "0ujtsYcgvSTl8PAuAdqWYSMnLOv",
            "cus_9s6XKzkNRiz8i3",
            "dGhpcyBpcyBhbiBJRA9=",
            "V1StGXR8_Z5jdHi6B-myT",
            "kZqWbRtYvNcXsLpMhGfD",
            "kZqWbRtY-vNcXsLp_MhGfD",
            "bot123456789",
            "%31%37",
            "%7B17%7D",
            "x%2F17",
            "c276c8c7%2D6fec-5aa9-b6bd-4de12a49a9bb",
            "aB3dE5fG%2FhJ7kL9mN",
            "aB3dE5fG%2bhJ7kL9mN",
        ] {
            check(id, ":id");
        }
        for word in [
            "",
            "orders",
            "v1",
            "v2.1",
            "2.0",
            "V1.12.3",
            "index.html",
            "oauth2",
            "s3",
            "utf8",
            "sha256",
            "h264",
            "Page12",
            "deadbeef",
            "facade",
            "iphone-15",
            "top-10-places-to-see",
            "how-to-write-a-load-test",
            "oauth2-authorization-server",
            ".well-known",
            "getOrdersOfCustomerByName",
            "XMLHttpRequestGetURLs",
            "jquery-3.6.0.min.js",
            "internationalization",
            "a+b",
            "~bob",
            "*",
            "%E2%82%AC",
            "Orders(Customer='Bob',Sort=name)",
            "urn:isbn",
            "batch:delete-all-orders-of-customers",
            "RtcPeerConnectionIceEvent",
        ] {
            check(word, word);
        }
        check("12345.json", ":id.json");
        check("7.json", ":id.json");
        check("48.1374", "48.:id");
        check("c276c8c7-6fec-5aa9-b6bd-4de12a49a9bb.png", ":id.png");
        check("abcdefab-cdef-abcd-efab-cdefabcdef12.png", ":id.png");
        check("main.3f2a9b1c.js", "main.:id.js");
        check("order-12345", "order-:id");
        check("id=17", "id=17");
        check("id=1700", "id=:id");
        check("Orders(1700)", "Orders(:id)");
        check("Orders(17)", "Orders(:id)");
        check("Orders(17,18)", "Orders(:id)");
        check("Orders('2026-11-21T03:27:00Z')", "Orders(':id')");
        check("größe-4711", "gr%C3%B6%C3%9Fe-:id");
    }

    #[test]
    fn ids_and_secrets_beside_other_characters_are_not_in_a_route() {
        #[track_caller]
        fn check(before: &str, behind: &str, expect: &str) {
            for id in [
                "c276c8c7-6fec-5aa9-b6bd-4de12a49a9bb",
                "C276C8C7-6FEC-5AA9-B6BD-4DE12A49A9BB",
                "V1StGXR8_Z5jdHi6B-myT",
                "AAE-x3k_3ZqHd-TcvCH1vGWJ_xfSeofSAs0K-PALDsaw",
                "kZqWbRtY-vNcXsLp_MhGfD",
            ] {
                let found = route("GET", &format!("http://h/{before}{id}{behind}/x"));
                assert_eq!(found, format!("GET http://h/{expect}/x"), "of {id}");
            }
        }
        check("Orders(", ")", "Orders(:id)");
        check("Orders('", "')", "Orders(':id')");
        check("Orders(Key='", "',Part=b)", "Orders(Key=':id',Part=b)");
        check("urn:uuid:", "", "urn:uuid::id");
        check("x:", "", "x::id");
        check("a,", "", "a,:id");
        check("", ",a.json", ":id,a.json");
        check("ü", "ü", "%C3%BC:id%C3%BC");
        check("bot123456789:", "", ":id::id");
    }

    #[test]
    fn random_ids_beside_any_punctuation_are_never_in_a_route() {
        const OF_TOKENS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_0123456789";
        let mut random = fastrand::Rng::with_seed(17);
        let mut beside: Vec<_> =
            (b'!'..=b'~').filter(u8::is_ascii_punctuation).map(|c| char::from(c).to_string()).collect();
        // By itself it would eat two characters.
        beside.iter_mut().filter(|c| *c == "%").for_each(|c| c.push_str("25"));
        let mut bare = 0;
        for _ in 0..50_000 {
            let token = |random: &mut fastrand::Rng, length| -> String {
                (0..length).map(|_| char::from(OF_TOKENS[random.usize(..OF_TOKENS.len())])).collect()
            };
            let id = match random.u8(..3) {
                0 => uuid(random.u128(..)),
                1 => uuid(random.u128(..)).to_uppercase(),
                _ => {
                    let length = random.usize(16..44);
                    token(&mut random, length)
                }
            };
            let (before, behind) = (&beside[random.usize(..beside.len())], &beside[random.usize(..beside.len())]);
            let found = route("GET", &format!("http://h/x{before}{id}{behind}x/y"));
            // Whatever eight of its characters.
            if (0..=id.len() - 8).any(|at| found.contains(&id[at..at + 8])) {
                assert!(!id.bytes().any(|byte| byte.is_ascii_digit()), "{id} is in {found}");
                bare += 1;
            }
        }
        // Letters alone may be taken for words.
        assert!(bare <= 1, "{bare}");
    }

    #[test]
    fn sequence_ids_in_any_form_are_never_in_a_route() {
        let mut random = fastrand::Rng::with_seed(9);
        for _ in 0..2_000 {
            let bits = random.u128(..);
            let uuid = uuid(bits);
            for id in [&uuid, &uuid.to_uppercase(), &uuid.replace('-', ""), &bits.to_string()] {
                assert_eq!(route("GET", &format!("http://h/{id}/x")), "GET http://h/:id/x", "{id}");
                let with = route("GET", &format!("http://h/order-{id}.json"));
                assert!(with.len() < 36, "{id} is in {with}");
            }
        }
    }
}
