//! Every string the page says by itself, in both languages; text from board files comes as it is.
//! A key missing in one language does not compile.

import type { LocalText } from "../wire/layout";

export type Language = "en" | "zh";

const english = {
  brand: "Lantern",
  skip: "Skip to the board",
  boards: "Boards",
  help: "Help",
  close: "Close",
  language: "中文",
  languageLabel: "切换为简体中文",
  themeAuto: "Theme: as the system",
  themeLight: "Theme: light",
  themeDark: "Theme: dark",
  laneMarquee: "Now",
  laneCharts: "Charts",
  laneStats: "Figures",
  laneTable: "Table",
  laneAlerts: "Alerts",
  laneTicker: "Events",
  pause: "Pause",
  resume: "Resume",
  paused: "Paused",
  pauseMarquee: "Pause the rotation",
  resumeMarquee: "Resume the rotation",
  levelNone: "No data",
  levelHealthy: "Healthy",
  levelInfo: "Info",
  levelWarning: "Warning",
  levelCritical: "Critical",
  noAlerts: "No alerts. All quiet.",
  noEvents: "No events yet.",
  noData: "Waiting for data",
  pending: "Pending",
  firing: "Firing",
  resolved: "Resolved",
  since: "for {span}",
  newEvents: "{n} new",
  newest: "Newest events",
  linkConnecting: "Connecting",
  linkLive: "Live",
  linkResuming: "Resuming",
  linkReconnecting: "Reconnecting",
  linkGone: "Board removed",
  bannerReconnecting: "Connection lost. Showing the last good state.",
  bannerRetry: "Next try in {s} s.",
  bannerNow: "Try now",
  bannerGone: "There is no such board any more. Choose another one.",
  bannerNone: "There are no boards yet. Put one into conf.d/boards.",
  footer: "Measurements of this page",
  eventToPixel: "event → pixel",
  fps: "frames/s",
  dropped: "dropped",
  conflated: "conflated",
  age: "data age",
  inconsistent: "inconsistent",
  last: "last {span}",
  showsValues: "Chart. {title}. Current values: {values}.",
  showsHeat: "Heat map, rows by time. {title}. Rows: {n}. Highest now: {values}.",
  scale: "Colour scale",
  nothing: "nothing",
  more: "+{n} more",
  critical: "Critical: {names}",
  alertFiring: "Alert firing: {names}",
  alertResolved: "Alert resolved: {names}",
  connected: "Connection restored.",
  helpTitle: "Keys and signs",
  helpBoards: "Choose a board",
  helpNeighbour: "Next or previous board",
  helpPause: "Pause or resume the rotation",
  helpTheme: "Theme: system, light, dark",
  helpLanguage: "English or Chinese",
  helpHelp: "This help",
  helpChart: "Move the cursor of a focused chart or heat map",
  helpLevels: "Levels",
  helpLatency:
    "Event → pixel is the time from an event’s arrival at the server until this page has painted it, over the last 60 seconds.",
} as const;

export type Key = keyof typeof english;

const chinese: Record<Key, string> = {
  brand: "走马灯",
  skip: "跳到看板",
  boards: "看板",
  help: "帮助",
  close: "关闭",
  language: "EN",
  languageLabel: "Switch to English",
  themeAuto: "主题：跟随系统",
  themeLight: "主题：浅色",
  themeDark: "主题：深色",
  laneMarquee: "此刻",
  laneCharts: "图表",
  laneStats: "指标",
  laneTable: "表格",
  laneAlerts: "告警",
  laneTicker: "事件",
  pause: "暂停",
  resume: "继续",
  paused: "已暂停",
  pauseMarquee: "暂停轮播",
  resumeMarquee: "继续轮播",
  levelNone: "无数据",
  levelHealthy: "正常",
  levelInfo: "提示",
  levelWarning: "警告",
  levelCritical: "严重",
  noAlerts: "没有告警，一切平静。",
  noEvents: "还没有事件。",
  noData: "等待数据",
  pending: "等待中",
  firing: "告警中",
  resolved: "已恢复",
  since: "已持续 {span}",
  newEvents: "{n} 条新事件",
  newest: "最新事件",
  linkConnecting: "正在连接",
  linkLive: "实时",
  linkResuming: "正在恢复",
  linkReconnecting: "正在重连",
  linkGone: "看板已移除",
  bannerReconnecting: "连接已断开，显示最后一次的有效状态。",
  bannerRetry: "{s} 秒后重试。",
  bannerNow: "立即重试",
  bannerGone: "该看板已不存在，请选择其他看板。",
  bannerNone: "还没有看板，请在 conf.d/boards 中添加。",
  footer: "本页测量值",
  eventToPixel: "事件 → 像素",
  fps: "帧/秒",
  dropped: "丢帧",
  conflated: "合并",
  age: "数据时延",
  inconsistent: "不一致",
  last: "最近 {span}",
  showsValues: "图表。{title}。当前值：{values}。",
  showsHeat: "热力图，按行与时间。{title}。共 {n} 行。当前最高：{values}。",
  scale: "色阶",
  nothing: "无",
  more: "另有 {n} 项",
  critical: "严重：{names}",
  alertFiring: "告警触发：{names}",
  alertResolved: "告警恢复：{names}",
  connected: "连接已恢复。",
  helpTitle: "按键与标志",
  helpBoards: "选择看板",
  helpNeighbour: "下一个或上一个看板",
  helpPause: "暂停或继续轮播",
  helpTheme: "主题：系统、浅色、深色",
  helpLanguage: "中文或英文",
  helpHelp: "本帮助",
  helpChart: "移动选中图表或热力图的游标",
  helpLevels: "级别",
  helpLatency: "“事件 → 像素”是事件到达服务器至本页将其画出的时间，统计最近 60 秒。",
};

const catalog: Record<Language, Record<Key, string>> = { en: english, zh: chinese };

const STORED = "lantern.language";

export class Words {
  private constructor(public language: Language) {}

  /** The language chosen earlier, else the browser's. */
  static load(storage: Pick<Storage, "getItem"> | undefined, preferred: readonly string[]): Words {
    const stored = storage?.getItem(STORED);
    if (stored === "en" || stored === "zh") return new Words(stored);
    const known = preferred.map((tag) => tag.toLowerCase()).find((tag) => /^(zh|en)\b/.test(tag));
    return new Words(known?.startsWith("zh") ? "zh" : "en");
  }

  toggle(storage: Pick<Storage, "setItem"> | undefined): void {
    this.language = this.language === "en" ? "zh" : "en";
    storage?.setItem(STORED, this.language);
  }

  /** The text of `key`, with `{name}` replaced. */
  say(key: Key, values: Readonly<Record<string, string | number>> = {}): string {
    return catalog[this.language][key].replace(/\{(\w+)\}/g, (whole, name: string) => `${values[name] ?? whole}`);
  }

  /** Text of a board file. */
  local(text: LocalText): string {
    return text[this.language];
  }
}
