//! Pieces of time, in order and apart from each other.

/// From, to, ns of `CLOCK_MONOTONIC`.
pub type Span = (u64, u64);

/// Puts spans in order and joins those that overlap.
pub fn join(mut spans: Vec<Span>) -> Vec<Span> {
    spans.retain(|(start, end)| start < end);
    spans.sort_unstable();
    let mut joined: Vec<Span> = Vec::new();
    for (start, end) in spans {
        match joined.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => joined.push((start, end)),
        }
    }
    joined
}

/// Takes from `rest` what is in `spans`, and gives what was taken.
pub fn take(rest: &mut Vec<Span>, spans: &[Span]) -> Vec<Span> {
    let (mut taken, mut left) = (Vec::new(), Vec::new());
    for &(mut at, end) in rest.iter() {
        let first = spans.partition_point(|span| span.1 <= at);
        for &(from, to) in spans[first..].iter().take_while(|span| span.0 < end) {
            let (from, to) = (from.max(at), to.min(end));
            if at < from {
                left.push((at, from));
            }
            taken.push((from, to));
            at = to;
        }
        if at < end {
            left.push((at, end));
        }
    }
    *rest = left;
    taken
}

/// Their length.
pub fn length_ns(spans: &[Span]) -> u64 {
    spans.iter().map(|(start, end)| end - start).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_and_what_is_left_are_the_whole() {
        let mut rest = vec![(0, 10), (20, 30)];
        let taken = take(&mut rest, &[(5, 7), (9, 22), (40, 50)]);
        assert_eq!(taken, [(5, 7), (9, 10), (20, 22)]);
        assert_eq!(rest, [(0, 5), (7, 9), (22, 30)]);
        assert_eq!(length_ns(&taken) + length_ns(&rest), 20);
    }

    #[test]
    fn overlapping_spans_become_one() {
        assert_eq!(
            join(vec![(5, 9), (1, 6), (9, 9), (10, 12)]),
            [(1, 9), (10, 12)]
        );
    }
}
