//! What may be weakened unnoticed, and why it stays as it is. Whatever else survives fails the check, and so does what
//! stands here and is killed.

use super::sites::Site;

/// An ordering that no judge can miss.
pub(crate) struct Survivor {
    pub(crate) file: &'static str,
    /// The line, or so much of it that it is the only one.
    pub(crate) code: &'static str,
    /// Its edge.
    pub(crate) edge: &'static str,
    pub(crate) reason: &'static str,
}

impl Survivor {
    pub(crate) fn is(&self, site: &Site) -> bool {
        site.file == self.file && site.edge == self.edge && site.code.contains(self.code)
    }
}

pub(crate) const SURVIVORS: &[Survivor] = &[];
