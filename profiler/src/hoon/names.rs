//! Names of a stack's frames, as fine as they are wanted.

use super::Site;

/// How fine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Folding {
    /// To the line: `/app/dojo/hoon:984`.
    Line,
    /// To the file: `/app/dojo/hoon`.
    File,
    /// To agents and vanes: `/app/dojo`, `gall`. Everything else counts as who called it.
    Owner,
}

/// Names of a stack, outermost first. `frames` are the sites, innermost first; a frame that could not
/// be looked up has none. Neighbours of one name become one frame.
pub fn fold<'a>(
    frames: impl DoubleEndedIterator<Item = Option<&'a Site>>,
    folding: Folding,
) -> Vec<String> {
    let mut names: Vec<String> = frames
        .rev()
        .filter_map(|site| match (folding, site) {
            (Folding::Line, Some(site)) => Some(site.line()),
            (Folding::File, Some(site)) => Some(site.file()),
            (Folding::Owner, Some(site)) => site.owner(),
            (Folding::Line | Folding::File, None) => Some("[unresolved]".to_owned()),
            (Folding::Owner, None) => None,
        })
        .collect();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::super::Spot;
    use super::*;

    fn site(path: &str, line: u32) -> Site {
        Site::Spot(Spot {
            path: path.to_owned(),
            line,
            column: 1,
            end_line: line,
            end_column: 2,
        })
    }

    #[test]
    fn frames_fold_by_line_by_file_and_by_owner() {
        let sites = [
            site("/lib/strand/hoon", 3),
            site("/app/dojo/hoon", 984),
            site("/app/dojo/hoon", 971),
            site("/app/dojo/hoon", 971),
            site("/sys/vane/gall/hoon", 1569),
        ];
        let fold = |folding| fold(sites.iter().map(Some), folding);
        assert_eq!(
            fold(Folding::Line),
            [
                "/sys/vane/gall/hoon:1569",
                "/app/dojo/hoon:971",
                "/app/dojo/hoon:984",
                "/lib/strand/hoon:3",
            ]
        );
        assert_eq!(
            fold(Folding::File),
            ["/sys/vane/gall/hoon", "/app/dojo/hoon", "/lib/strand/hoon"]
        );
        assert_eq!(fold(Folding::Owner), ["gall", "/app/dojo"]);
    }

    #[test]
    fn what_has_no_name_is_shown_where_it_stood() {
        let known = site("/app/dojo/hoon", 1);
        let frames = [None, None, Some(&known)];
        assert_eq!(
            super::fold(frames.into_iter(), Folding::Line),
            ["/app/dojo/hoon:1", "[unresolved]"]
        );
        assert_eq!(
            super::fold(frames.into_iter(), Folding::Owner),
            ["/app/dojo"]
        );
    }
}
