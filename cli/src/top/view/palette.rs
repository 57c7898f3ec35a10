//! Few colours: what works has none, what rests is dim, and red is what needs somebody. Without colour the words and signs remain.

use super::super::entry::Mood;
use ratatui::style::{Color, Modifier, Style};

/// How things look.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Palette {
    colour: bool,
}

impl Palette {
    /// With colours, or with bold, dim and reversed letters alone.
    pub(in super::super) fn new(colour: bool) -> Palette {
        Palette { colour }
    }

    fn coloured(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    /// What need not be read now.
    pub(super) fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    pub(super) fn bold(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    pub(super) fn alarm(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(super) fn caution(self) -> Style {
        self.coloured(Color::Yellow)
    }

    /// What is there and well.
    pub(super) fn well(self) -> Style {
        self.coloured(Color::Green)
    }

    /// The lines of figures over time.
    pub(super) fn trend(self) -> Style {
        self.coloured(Color::Cyan)
    }

    /// A row's figures.
    pub(super) fn row(self, mood: Mood) -> Style {
        match mood {
            Mood::Idle | Mood::Gone => self.dim(),
            Mood::Broken | Mood::Behind | Mood::Working => Style::new(),
        }
    }

    /// A row's word of state.
    pub(super) fn state(self, mood: Mood, is_served: bool) -> Style {
        match mood {
            Mood::Broken => self.alarm(),
            Mood::Behind => self.caution(),
            Mood::Working | Mood::Idle if is_served => self.well(),
            _ => self.dim(),
        }
    }

    /// The name of the row that is meant.
    pub(super) fn meant(self, style: Style) -> Style {
        style.remove_modifier(Modifier::DIM).add_modifier(Modifier::REVERSED | Modifier::BOLD)
    }
}
