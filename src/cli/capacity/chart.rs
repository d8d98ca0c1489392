//! The measurements as a picture: rate and latency over the number of callers.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;

use super::Measured;

/// Width and height of the picture in pixels.
const SIZE: (u32, u32) = (800, 420);

/// Part of an axis that stays free above the highest point.
const MARGIN: f64 = 1.1;

/// Draws the chart as SVG.
///
/// # Errors
/// The file can't be written.
pub(super) fn draw(measured: &Measured, path: &Path) -> Result<(), Box<dyn Error>> {
    let mut svg = String::new();
    render(measured, &mut svg)?;
    Ok(std::fs::write(path, svg)?)
}

fn render(measured: &Measured, svg: &mut String) -> Result<(), Box<dyn Error>> {
    let levels = &measured.levels;
    let milliseconds = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    let last = levels.iter().map(|level| f64::from(level.callers)).fold(1.0, f64::max);
    let rate = levels.iter().map(|level| level.rate).fold(1.0, f64::max) * MARGIN;
    let latency = levels.iter().map(|level| milliseconds(level.p99)).fold(1.0, f64::max) * MARGIN;

    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let title = format!("{} version {}, {} workers", measured.model, measured.version, measured.workers);
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .right_y_label_area_size(70)
        .build_cartesian_2d((1.0..last.max(2.0)).log_scale(), 0.0..rate)?
        .set_secondary_coord((1.0..last.max(2.0)).log_scale(), 0.0..latency);
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("callers")
        .y_desc("requests per second")
        .x_label_formatter(&|callers| format!("{callers:.0}"))
        .y_label_formatter(&|rate| format!("{rate:.0}"))
        .draw()?;
    chart.configure_secondary_axes().y_desc("p99, ms").y_label_formatter(&|ms| format!("{ms:.0}")).draw()?;
    let rates = levels.iter().map(|level| (f64::from(level.callers), level.rate));
    chart
        .draw_series(LineSeries::new(rates, BLUE.stroke_width(2)).point_size(3))?
        .label("requests per second")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], BLUE.stroke_width(2)));
    let latencies = levels.iter().map(|level| (f64::from(level.callers), milliseconds(level.p99)));
    chart
        .draw_secondary_series(LineSeries::new(latencies, RED.stroke_width(2)).point_size(3))?
        .label("p99")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], RED.stroke_width(2)));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::load::Level;
    use super::*;

    #[test]
    fn every_level_is_a_point_of_both_lines() {
        let level = |callers: u32| Level {
            callers,
            rate: f64::from(callers) * 100.0,
            p50: Duration::from_millis(2),
            p99: Duration::from_millis(u64::from(callers)),
            queue: Duration::ZERO,
            score: Duration::from_millis(2),
        };
        let measured = Measured {
            model: "boston".to_owned(),
            version: 3,
            workers: 2,
            rows: 1,
            levels: [1, 4, 16].map(level).to_vec(),
            memory: 0,
            zygote: 0,
        };
        let mut svg = String::new();
        render(&measured, &mut svg).expect("a picture");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        assert!(svg.contains("boston version 3, 2 workers"), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 6, "{svg}");
    }
}
