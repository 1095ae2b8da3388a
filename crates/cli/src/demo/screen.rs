//! Where the demo writes: a table that is redrawn in place on a terminal, plain lines elsewhere.

use std::io::{IsTerminal as _, Stdout, Write as _, stdout};

use super::{
    render,
    state::{News, State},
};

/// Standard output.
pub(crate) struct Screen {
    out: Stdout,
    redraws: bool,
    drawn: usize,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let out = stdout();
        // Without cursor movements (TERM=dumb) a terminal is read like a pipe.
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self {
            redraws: out.is_terminal() && !dumb,
            out,
            drawn: 0,
        }
    }

    /// Writes text that stays.
    pub(crate) fn say(&mut self, text: &str) {
        let text = format!("{}{}\n", self.erase(), text.trim_end_matches('\n'));
        self.write(&text);
    }

    /// Tells one thing that happened, where nothing is redrawn.
    pub(crate) fn tell(&mut self, news: &News) {
        if !self.redraws {
            let line = render::line(news) + "\n";
            self.write(&line);
        }
    }

    /// Redraws the state, where that is possible.
    pub(crate) fn draw(&mut self, state: &State, now: f64) {
        if !self.redraws {
            return;
        }
        let (width, height) = rustix::termios::tcgetwinsize(&self.out)
            .map(|size| (usize::from(size.ws_col), usize::from(size.ws_row)))
            .unwrap_or((80, 24));
        let live = render::live(state, now, width.max(20), height.saturating_sub(2).max(3));
        let text = format!("{}{live}", self.erase());
        self.drawn = live.lines().count();
        self.write(&text);
    }

    /// What moves the cursor back to where the drawn lines began, and clears them.
    fn erase(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\x1b[J"),
        }
    }

    /// A reader that went away (`| head`) is no reason to leave machines behind: errors are ignored.
    fn write(&mut self, text: &str) {
        let _ = self.out.write_all(text.as_bytes());
        let _ = self.out.flush();
    }
}
