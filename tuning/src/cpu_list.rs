//! Lists of processors as Linux writes them: `0-3,8`.

/// Reads a list like `0-3,8` into ascending numbers; an empty text is an empty list.
///
/// # Errors
/// The part that is no number or no ascending range, or that lies above [`CPU_MAX`].
pub fn parse(text: &str) -> Result<Vec<usize>, String> {
    let mut cpus = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let wrong = || format!("{part:?} is no processor and no range of processors");
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().map_err(|_| wrong())?;
        let last: usize = last.trim().parse().map_err(|_| wrong())?;
        if first > last {
            return Err(wrong());
        }
        if last > CPU_MAX {
            return Err(format!("{part:?} is above the last processor, {CPU_MAX}"));
        }
        cpus.extend(first..=last);
    }
    cpus.sort_unstable();
    cpus.dedup();
    Ok(cpus)
}

/// Writes ascending numbers as Linux does: `0-3,8`; two neighbours are a range.
pub fn format(cpus: &[usize]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut rest = cpus;
    while let Some(&first) = rest.first() {
        let run = (rest.iter().zip(first..))
            .take_while(|(cpu, expected)| *cpu == expected)
            .count();
        let last = first + run - 1;
        parts.push(if run == 1 {
            first.to_string()
        } else {
            format!("{first}-{last}")
        });
        rest = &rest[run..];
    }
    parts.join(",")
}

/// Highest processor number taken; the kernel is built for at most 8,192 of them.
pub const CPU_MAX: usize = 8191;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_and_single_numbers_are_read() {
        assert_eq!(parse("0-3,8\n").unwrap(), [0, 1, 2, 3, 8]);
        assert_eq!(parse("\n").unwrap(), [0_usize; 0]);
        assert_eq!(parse("5,4,4").unwrap(), [4, 5]);
    }

    #[test]
    fn what_is_no_list_is_refused_with_the_part() {
        for (text, part) in [("0-", "0-"), ("3-1", "3-1"), ("0,x", "x"), ("-1", "-1")] {
            assert!(parse(text).unwrap_err().contains(part), "{text}");
        }
        assert!(parse("0-99999999999").unwrap_err().contains("8191"));
    }

    proptest! {
        #[test]
        fn a_list_survives_writing_and_reading(cpus in prop::collection::btree_set(0..300_usize, 0..40)) {
            let cpus: Vec<usize> = cpus.into_iter().collect();
            prop_assert_eq!(parse(&format(&cpus)).unwrap(), cpus);
        }
    }
}
