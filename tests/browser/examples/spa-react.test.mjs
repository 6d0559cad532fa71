import { drive } from "../support/drive.mjs";
import { onOwnHosts } from "../support/hosts.mjs";

drive("spa-react");
onOwnHosts("spa-react");
