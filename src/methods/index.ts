export { METHODS } from "./list.js";
export {
  type Algorithm,
  type Asked,
  algorithmOf,
  type Method,
  type NamedSlice,
  type Obstacle,
  type OptionName,
  obstacleOf,
  obstacleOfSlices,
  type SizeOption,
  type Solution,
  type Task,
  takesOption,
  type Watch,
} from "./method.js";
export { DEFAULT_TOLERANCE, OPTIONS, type OptionInfo } from "./options.js";
