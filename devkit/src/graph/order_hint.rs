//! Planner's order hints: reading what clients write (`"<previous> <next>!"`, nested too) and making the
//! short hint that is stored instead. Source: Graph's page "Planner order hint format".

const LOW: u8 = b'"';
const HIGH: u8 = b'~';

/// The text of the refusal, as seen on the wire.
pub fn refusal(hint: &str) -> String {
    format!(
        "The request is invalid:\r\nSpecified order hint is in an invalid format: \
         The input ({hint}) does not contain spaces or exclamation points."
    )
}

#[derive(Debug)]
enum Part {
    Gap,
    Value(Option<String>),
}

/// The hint to store for the hint that a client wrote, or `None` if its form is wrong.
/// `first` is used for `" !"`, which names no neighbour.
pub fn resolve(written: &str, first: &str) -> Option<String> {
    let mut stack: Vec<Part> = Vec::new();
    let mut token = String::new();
    for letter in written.chars() {
        if !matches!(letter, ' '..='~') {
            return None;
        }
        if letter != ' ' && letter != '!' {
            token.push(letter);
            continue;
        }
        if !token.is_empty() {
            stack.push(Part::Value(Some(std::mem::take(&mut token))));
        }
        if letter == ' ' {
            stack.push(Part::Gap);
            continue;
        }
        let next = pop_value(&mut stack);
        if !matches!(stack.pop(), Some(Part::Gap)) {
            return None;
        }
        let previous = pop_value(&mut stack);
        stack.push(Part::Value(Some(between(previous.as_deref(), next.as_deref(), first))));
    }
    match (token.is_empty(), stack.as_mut_slice()) {
        (true, [Part::Value(value)]) => value.take(),
        _ => None,
    }
}

fn pop_value(stack: &mut Vec<Part>) -> Option<String> {
    if matches!(stack.last(), Some(Part::Value(_)))
        && let Some(Part::Value(value)) = stack.pop()
    {
        return value;
    }
    None
}

/// A hint that sorts between its neighbours, byte by byte. It never ends in the lowest digit, so that
/// there is always room below it.
fn between(previous: Option<&str>, next: Option<&str>, first: &str) -> String {
    if previous.is_none() && next.is_none() {
        return first.to_owned();
    }
    let low = previous.unwrap_or("").as_bytes();
    let mut high = next.map(str::as_bytes).filter(|high| *high > low);
    let mut out = Vec::new();
    for place in 0.. {
        let below = low.get(place).copied().unwrap_or(LOW - 1);
        let above = match high {
            Some(high) => high.get(place).copied().unwrap_or(LOW - 1),
            None => HIGH + 1,
        };
        if above < LOW && below < LOW {
            // The neighbours differ by lowest digits only: nothing sorts between them.
            break;
        }
        let middle = (below + above.saturating_sub(below) / 2).max(LOW + 1);
        if middle > below && middle < above {
            out.push(middle);
            break;
        }
        let digit = below.max(LOW);
        out.push(digit);
        if digit < above {
            high = None;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The hint of the `count`-th new item: new items sort before older ones, as in Planner's own boards.
pub fn newest(count: u64) -> String {
    let falling = 8_585_752_723_360_752_000_u64.saturating_sub(count.saturating_mul(7));
    format!("{falling}P{}", char::from(b'a' + (count % 26) as u8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest_free::hints;

    /// A few thousand hints from a plain generator, so that the property runs without a crate.
    mod proptest_free {
        pub fn hints() -> impl Iterator<Item = String> {
            let mut state = 7_u64;
            (0..3000).map(move |_| {
                (0..6)
                    .map(|_| {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        char::from(b'$' + ((state >> 33) % 90) as u8)
                    })
                    .take_while(|letter| *letter != 'x')
                    .collect()
            })
        }
    }

    #[test]
    fn the_documented_sequence_gives_the_documented_order() {
        // Five items as on Microsoft's page: each is placed by its neighbours.
        let one = resolve(" !", "5637").unwrap();
        let two = resolve(&format!("{one} !"), "z").unwrap();
        let three = resolve(&format!("{one} {two}!"), "z").unwrap();
        let four = resolve(&format!(" {one}!"), "z").unwrap();
        let five = resolve(&format!("{four} {one}!"), "z").unwrap();
        let mut order = [&one, &two, &three, &four, &five];
        order.sort();
        assert_eq!(order, [&four, &five, &one, &three, &two]);
    }

    #[test]
    fn compositions_are_accepted_and_other_forms_are_not() {
        assert!(resolve(" 5637! 5637 adhg!!", "z").is_some());
        for bad in ["9223370550899070129", "", "!", "a", "a b", "a!", "a b! c", "é !"] {
            assert_eq!(resolve(bad, "z"), None, "{bad:?}");
        }
    }

    #[test]
    fn a_hint_sorts_between_its_neighbours() {
        let all: Vec<String> = hints().filter(|hint| !hint.is_empty()).collect();
        for pair in all.windows(2) {
            let (low, high) = if pair[0] < pair[1] { (&pair[0], &pair[1]) } else { (&pair[1], &pair[0]) };
            if low == high {
                continue;
            }
            let middle = resolve(&format!("{low} {high}!"), "z").unwrap();
            assert!(low < &middle && &middle < high, "{low:?} {middle:?} {high:?}");
            assert!(&resolve(&format!("{high} !"), "z").unwrap() > high);
            assert!(&resolve(&format!(" {low}!"), "z").unwrap() < low, "{low:?}");
        }
    }
}
