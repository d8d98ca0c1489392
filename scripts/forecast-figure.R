# Draws the forecasts of four SKUs in one store, as PNG and SVG: sales so far, the median
# dashed, two bands, and the sales that came.
# Usage: Rscript scripts/forecast-figure.R FORECASTS OUTPUT [STORE]
#
# FORECASTS is a file that `rscore batch` wrote (product1.csv), or a bundle, which is then
# scored here. OUTPUT.png and OUTPUT.svg are written.

suppressPackageStartupMessages(library(ggplot2))
script_file <- normalizePath(sub("^--file=", "", grep("^--file=", commandArgs(FALSE), value = TRUE)[1L]))
root <- dirname(dirname(script_file))
for (library in c("data.R", "bundle.R")) source(file.path(root, "scripts", "lib", "forecast", library))
arguments <- commandArgs(TRUE)
if (!length(arguments) %in% 2:3) stop("usage: Rscript scripts/forecast-figure.R FORECASTS OUTPUT [STORE]")

# As help(orangeJuice, package = "bayesm") lists them.
skus <- c("1" = "Tropicana Premium, 64 oz", "2" = "Tropicana Premium, 96 oz", "3" = "Florida's Natural, 64 oz", "4" = "Tropicana, 64 oz")
store <- if (length(arguments) == 3L) as.integer(arguments[[3L]]) else 1L
first_week <- 80L

read_forecasts <- function(path, data) {
  if (dir.exists(path)) open_bundle(path)(data) else utils::read.csv(path)
}

drawn <- function(rows) {
  rows <- rows[rows$store == store & rows$sku %in% names(skus) & rows$week >= first_week, ]
  rows$name <- factor(skus[as.character(rows$sku)], levels = skus)
  rows
}

# The last week of the history belongs to the lines and bands too, so that nothing gapes.
joined <- function(forecasts, history) {
  last <- history[history$week == max(history$week), ]
  last[c("q5", "q25", "q50", "q75", "q95")] <- last$sales
  columns <- c("name", "week", "q5", "q25", "q50", "q75", "q95")
  rbind(last[columns], forecasts[columns])
}

sales <- split_sales(oj_sales())
history <- drawn(sales$history)
test <- drawn(sales$test)
forecasts <- joined(drawn(read_forecasts(arguments[[1L]], sales)), history)

figure <- ggplot(mapping = aes(x = week)) +
  geom_ribbon(aes(ymin = q5, ymax = q95, fill = "5 % to 95 %"), forecasts) +
  geom_ribbon(aes(ymin = q25, ymax = q75, fill = "25 % to 75 %"), forecasts) +
  geom_line(aes(y = sales, colour = "sales", linetype = "sales"), history, linewidth = 0.5) +
  geom_line(aes(y = q50, colour = "median forecast", linetype = "median forecast"), forecasts, linewidth = 0.6) +
  geom_point(aes(y = sales, shape = "sales that came"), test, size = 1.3, colour = "grey25") +
  geom_vline(xintercept = max(history$week) + 0.5, colour = "grey55", linewidth = 0.3) +
  facet_wrap(vars(name), ncol = 1L, scales = "free_y") +
  scale_y_log10(labels = function(x) format(x, big.mark = ",", scientific = FALSE, trim = TRUE)) +
  scale_x_continuous(breaks = seq(first_week, max(test$week), by = 5L), expand = expansion(add = 0.5)) +
  scale_fill_manual(NULL, values = c("5 % to 95 %" = "#c9dcef", "25 % to 75 %" = "#86b2dc"), breaks = c("5 % to 95 %", "25 % to 75 %")) +
  scale_colour_manual(NULL, values = c("sales" = "grey15", "median forecast" = "#0b4a8f"), breaks = c("sales", "median forecast")) +
  scale_linetype_manual(NULL, values = c("sales" = "solid", "median forecast" = "21"), breaks = c("sales", "median forecast")) +
  scale_shape_manual(NULL, values = c("sales that came" = 1L)) +
  guides(colour = guide_legend(order = 1L), linetype = guide_legend(order = 1L), fill = guide_legend(order = 2L), shape = guide_legend(order = 3L)) +
  labs(
    x = "week", y = "units sold (logarithmic)",
    title = sprintf("Orange juice in store %d: forecasts for 13 weeks", store)
  ) +
  theme_minimal(base_size = 10) +
  theme(
    legend.position = "top", legend.justification = "left", legend.margin = margin(0, 8, 0, 0), legend.box.margin = margin(0, 0, 0, -6),
    legend.key.width = unit(1.5, "lines"), legend.text = element_text(size = 8), legend.spacing.x = unit(3, "pt"), plot.margin = margin(8, 14, 6, 8),
    panel.grid.minor = element_blank(), panel.grid.major = element_line(linewidth = 0.25),
    plot.title.position = "plot", plot.title = element_text(face = "bold"),
    strip.text = element_text(hjust = 0, face = "bold"), plot.background = element_rect(fill = "white", colour = NA)
  )

# ggplot2's own choice for SVG is a package that Debian does not have.
ggsave(paste0(arguments[[2L]], ".png"), figure, width = 7, height = 7, dpi = 144)
ggsave(paste0(arguments[[2L]], ".svg"), figure, width = 7, height = 7, device = grDevices::svg)
