//! Colours and type of the current theme, resolved for what is drawn and not styled.

export interface Palette {
  readonly series: readonly string[];
  /** From least to most: shades of one hue that differ in lightness, which every eye tells apart. */
  readonly heat: readonly string[];
  readonly grid: string;
  readonly text: string;
  readonly cursor: string;
  readonly surface: string;
  readonly font: string;
  /** CSS pixels. */
  readonly fontSize: number;
}

/** CSS pixels of type for which a line is one CSS pixel thick. */
const TYPE_PER_STROKE = 12.5;

/** Device pixels of a hairline that suits the size of the type: a wall's lines are thicker than a desk's. */
export const strokeFor = (palette: Palette, scale: number): number => (scale * palette.fontSize) / TYPE_PER_STROKE;

export const colourOf = (palette: Palette, index: number): string => palette.series[index % palette.series.length] ?? palette.text;
