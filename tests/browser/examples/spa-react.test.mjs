import { drive } from "../support/drive.mjs";

drive("spa-react");
